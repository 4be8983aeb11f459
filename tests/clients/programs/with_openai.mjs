// OpenAI's client for JavaScript, on chat completions, embeddings and models.

import OpenAI from 'openai'
import * as acting from './acting.mjs'

const client = new OpenAI({ baseURL: `${acting.URL}/v1`, apiKey: 'local', maxRetries: 0 })
const asked = {
  model: acting.MODEL,
  messages: [{ role: 'user', content: acting.QUESTION }],
  temperature: 0,
}
const weather = [{ role: 'user', content: acting.WEATHER_QUESTION }]
const described = { name: 'get_weather', description: 'Get it', parameters: acting.CITY }
const tools = [{ type: 'function', function: described }]
const create = (fields) => client.chat.completions.create({ ...asked, ...fields })
const named = (call) => [call.function.name, JSON.parse(call.function.arguments)]

async function goOn(first) {
  const result = {
    role: 'tool',
    tool_call_id: first.tool_calls[0].id,
    content: acting.WEATHER,
  }
  const second = await create({ messages: [...weather, first, result], tools })
  return { calls: first.tool_calls.map(named), text: second.choices[0].message.content }
}

await acting.act({
  models: async () => (await acting.all(client.models.list())).map((model) => model.id),
  chat: async () => (await create()).choices[0].message.content,
  stream: async () => {
    const chunks = await acting.all(await create({ stream: true }))
    return chunks.map((chunk) => chunk.choices[0].delta.content ?? '')
  },
  generate: async () => {
    const fields = { model: acting.MODEL, prompt: acting.PROMPT, temperature: 0, stream: true }
    const chunks = await acting.all(await client.completions.create(fields))
    return chunks.map((chunk) => chunk.choices[0].text).join('')
  },
  thinking: async () => {
    const { message } = (await create({ reasoning_effort: 'high' })).choices[0]
    return [message.reasoning_content, message.content]
  },
  tools: async () => goOn((await create({ messages: weather, tools })).choices[0].message),
  stream_tools: async () =>
    goOn(await client.chat.completions.stream({ ...asked, messages: weather, tools }).finalMessage()),
  required_tool: async () => {
    const forced = { type: 'function', function: { name: 'get_weather' } }
    const fields = { tools, tool_choice: forced, parallel_tool_calls: false }
    return (await create(fields)).choices[0].message.tool_calls.map(named)
  },
  schema: async () => {
    const form = { name: 'sum', strict: true, schema: acting.SUM }
    const answer = await create({ response_format: { type: 'json_schema', json_schema: form } })
    return JSON.parse(answer.choices[0].message.content)
  },
  embeddings: async () => {
    const answer = await client.embeddings.create({ model: acting.EMBEDDER, input: acting.TEXTS })
    return answer.data.map((one) => one.embedding)
  },
  cancel: () =>
    acting.cancelled(async () =>
      acting.some(
        await client.chat.completions.create({ ...asked, model: acting.ENDLESS, temperature: null, stream: true }),
        3,
      ),
    ),
  unknown: () => acting.failure(() => create({ model: acting.UNKNOWN })),
})
