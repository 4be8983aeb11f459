// OpenAI's client for JavaScript, on responses.

import OpenAI from 'openai'
import * as acting from './acting.mjs'

const client = new OpenAI({ baseURL: `${acting.URL}/v1`, apiKey: 'local', maxRetries: 0 })
const asked = { model: acting.MODEL, input: acting.QUESTION, temperature: 0 }
const described = { name: 'get_weather', description: 'Get it', parameters: acting.CITY }
const tools = [{ type: 'function', strict: false, ...described }]
const create = (fields) => client.responses.create({ ...asked, ...fields })
const calls = (response) => response.output.filter((item) => item.type === 'function_call')

function resultOf(response) {
  const [call] = calls(response)
  return { type: 'function_call_output', call_id: call.call_id, output: acting.WEATHER }
}

function told(first, second) {
  const made = calls(first).map((call) => [call.name, JSON.parse(call.arguments)])
  return { calls: made, text: second.output_text }
}

await acting.act({
  chat: async () => (await create()).output_text,
  stream: async () =>
    (await acting.all(await create({ stream: true })))
      .filter((event) => event.type === 'response.output_text.delta')
      .map((event) => event.delta),
  tools: async () => {
    const input = [{ role: 'user', content: acting.WEATHER_QUESTION }]
    const first = await create({ input, tools })
    const second = await create({ input: [...input, ...first.output, resultOf(first)], tools })
    return told(first, second)
  },
  stream_tools: async () => {
    const stream = client.responses.stream({ ...asked, input: acting.WEATHER_QUESTION, tools })
    const first = await stream.finalResponse()
    const fields = { input: [resultOf(first)], previous_response_id: first.id, tools }
    return told(first, await create(fields))
  },
  schema: async () => {
    const format = { type: 'json_schema', name: 'sum', strict: true, schema: acting.SUM }
    return JSON.parse((await create({ text: { format } })).output_text)
  },
  cancel: () =>
    acting.cancelled(async () => {
      const fields = { model: acting.ENDLESS, temperature: null, stream: true }
      for await (const event of await create(fields)) if (event.type.endsWith('.delta')) break
    }),
  unknown: () => acting.failure(() => create({ model: acting.UNKNOWN })),
})
