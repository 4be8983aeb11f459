// What acting.py is for Python: what a client is asked to do, and how it tells what came of it.

export const URL = process.env.LOCALRUN_URL
export const MODEL = 'guide', EMBEDDER = 'encoder', ENDLESS = 'endless', UNKNOWN = 'nosuch'
export const QUESTION = 'What is 7 + 5?'
// as guide has it
export const PROMPT = `<|im_start|>user\n${QUESTION}<|im_end|>\n<|im_start|>assistant\n`
export const WEATHER_QUESTION = 'What is the weather in Oslo?'
export const WEATHER = 'sunny, 21 degrees'
export const CITY = {
  type: 'object',
  properties: { city: { type: 'string', enum: ['Oslo', 'Bergen'] } },
  required: ['city'],
}
export const SUM = {
  type: 'object',
  properties: { sum: { type: 'integer' }, sure: { type: 'boolean' } },
  required: ['sum', 'sure'],
  additionalProperties: false,
}
export const TEXTS = ['a rainbow', 'a horse']
// PNG files in base64 that guide recognizes: the digit 7, and plain blue
export const SEVEN = process.env.LOCALRUN_SEVEN, BLUE = process.env.LOCALRUN_BLUE
export const PICTURE_QUESTION = 'What is this + 4?', COLOUR = 'My favourite colour is this.'
const PATIENCE_MS = 5000

// Do each act, and print what came of them; one that fails does not keep others off.
export async function act(acts) {
  const outcomes = {}
  for (const [name, perform] of Object.entries(acts)) {
    try {
      outcomes[name] = { value: await perform() }
    } catch (error) {
      console.error(error)
      outcomes[name] = { error: `${error.name}: ${error.message}` }
    }
  }
  process.stdout.write(JSON.stringify(outcomes))
}

// Tell whether the server counts a cancelled answer after somebody has left.
export async function cancelled(leave) {
  const before = await numCancelled()
  await leave()
  const deadline = Date.now() + PATIENCE_MS
  while (Date.now() < deadline) {
    if ((await numCancelled()) > before) return true
    await new Promise((resume) => setTimeout(resume, 20))
  }
  return false
}

// Return the answers to a question about the digit, and to one about the colour.
export async function seen(ask) {
  return [await ask(PICTURE_QUESTION, SEVEN), await ask(COLOUR, BLUE)]
}

// Return what a client makes of an error of the server.
export async function failure(ask) {
  try {
    await ask()
  } catch (error) {
    const status = error.status ?? error.status_code ?? error.statusCode ?? null
    return { type: error.name, status, message: error.message }
  }
  return {}
}

// Return all that an asynchronous iterable yields.
export async function all(items) {
  const found = []
  for await (const item of items) found.push(item)
  return found
}

// Take some items, and leave.
export async function some(items, count) {
  for await (const _ of items) if (--count === 0) break
}

async function numCancelled() {
  const text = await (await fetch(`${URL}/metrics`)).text()
  const found = text.matchAll(/localrun_answers_total\{.*end="cancelled".*\} (\d+)/g)
  return [...found].reduce((sum, line) => sum + Number(line[1]), 0)
}
