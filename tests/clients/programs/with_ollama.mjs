// Ollama's client for JavaScript.

import { Ollama } from 'ollama'
import * as acting from './acting.mjs'

const client = new Ollama({ host: acting.URL })
const options = { temperature: 0 }
const asked = {
  model: acting.MODEL,
  messages: [{ role: 'user', content: acting.QUESTION }],
  options,
}
const weather = [{ role: 'user', content: acting.WEATHER_QUESTION }]
const described = { name: 'get_weather', description: 'Get it', parameters: acting.CITY }
const tools = [{ type: 'function', function: described }]
const chat = (fields) => client.chat({ ...asked, ...fields })

async function goOn(first) {
  const result = { role: 'tool', tool_name: 'get_weather', content: acting.WEATHER }
  const second = await chat({ messages: [...weather, first, result], tools })
  const calls = first.tool_calls.map((call) => [call.function.name, call.function.arguments])
  return { calls, text: second.message.content }
}

await acting.act({
  models: async () => (await client.list()).models.map((model) => model.name),
  chat: async () => (await chat()).message.content,
  stream: async () =>
    (await acting.all(await chat({ stream: true }))).map((part) => part.message.content),
  generate: async () =>
    (await client.generate({ model: acting.MODEL, prompt: acting.QUESTION, options })).response,
  thinking: async () => {
    const { message } = await chat({ think: true })
    return [message.thinking, message.content]
  },
  tools: async () => goOn((await chat({ messages: weather, tools })).message),
  stream_tools: async () => {
    const parts = await acting.all(await chat({ messages: weather, tools, stream: true }))
    const content = parts.map((part) => part.message.content).join('')
    const calls = parts.flatMap((part) => part.message.tool_calls ?? [])
    return goOn({ role: 'assistant', content, tool_calls: calls })
  },
  schema: async () => JSON.parse((await chat({ format: acting.SUM })).message.content),
  embeddings: async () =>
    (await client.embed({ model: acting.EMBEDDER, input: acting.TEXTS })).embeddings,
  cancel: () =>
    acting.cancelled(async () => {
      const parts = await chat({ model: acting.ENDLESS, options: {}, stream: true })
      const left = (error) => error.name === 'AbortError' || Promise.reject(error)
      await (async () => {
        for await (const _ of parts) parts.abort()
      })().catch(left)
    }),
  unknown: () => acting.failure(() => chat({ model: acting.UNKNOWN })),
})
