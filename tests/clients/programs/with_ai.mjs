// Vercel's AI SDK with the provider that is the program's argument.

import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import * as acting from './acting.mjs'

globalThis.AI_SDK_LOG_WARNINGS = false // they would go to stdout
const settings = { name: 'localrun', baseURL: `${acting.URL}/v1`, apiKey: 'local' }
const compatible = { ...settings, includeUsage: true, supportsStructuredOutputs: true }
const provider = {
  anthropic: createAnthropic(settings),
  openai: createOpenAI(settings), // responses, if it is not told otherwise
  'openai-compatible': createOpenAICompatible(compatible),
}[process.argv[2]]

const model = provider(acting.MODEL)
const asked = { model, prompt: acting.QUESTION, temperature: 0, maxOutputTokens: 200, maxRetries: 0 }
const tools = {
  get_weather: tool({
    description: 'Get it',
    inputSchema: jsonSchema(acting.CITY),
    execute: async () => acting.WEATHER,
  }),
}
const weather = { ...asked, prompt: acting.WEATHER_QUESTION, tools, stopWhen: stepCountIs(3) }
const made = (calls) => calls.map((call) => [call.toolName, call.input])

await acting.act({
  chat: async () => (await generateText(asked)).text,
  stream: async () => acting.all(streamText(asked).textStream),
  thinking: async () => {
    const providerOptions = {
      anthropic: { thinking: { type: 'enabled', budgetTokens: 1024 } },
      localrun: { reasoningEffort: 'high' },
      openai: { reasoningEffort: 'high', reasoningSummary: 'auto', forceReasoning: true },
    }
    const answer = await generateText({ ...asked, providerOptions })
    return [answer.reasoningText, answer.text]
  },
  tools: async () => {
    const { steps, text } = await generateText(weather)
    return { calls: made(steps[0].toolCalls), text }
  },
  stream_tools: async () => {
    const answer = streamText(weather)
    await answer.consumeStream()
    return { calls: made((await answer.steps)[0].toolCalls), text: await answer.text }
  },
  required_tool: async () => {
    const forced = { type: 'tool', toolName: 'get_weather' }
    const { toolCalls } = await generateText({ ...asked, tools, toolChoice: forced })
    return made(toolCalls)
  },
  schema: async () => {
    const fields = { schema: jsonSchema(acting.SUM), schemaName: 'sum' }
    return (await generateObject({ ...asked, ...fields })).object
  },
  embeddings: async () => {
    const model = provider.textEmbeddingModel(acting.EMBEDDER) // which Anthropic has none of
    return (await embedMany({ model, values: acting.TEXTS })).embeddings
  },
  pictures: () =>
    acting.seen(async (text, png) => {
      const image = { type: 'file', mediaType: 'image/png', data: png }
      const content = [image, { type: 'text', text }]
      const { text: answer } = await generateText({
        ...asked,
        prompt: [{ role: 'user', content }],
      })
      return answer
    }),
  cancel: () =>
    acting.cancelled(async () => {
      const controller = new AbortController()
      const { fullStream } = streamText({
        ...asked,
        model: provider(acting.ENDLESS),
        temperature: undefined,
        maxOutputTokens: undefined,
        abortSignal: controller.signal,
      })
      for await (const part of fullStream) if (part.type.endsWith('-delta')) controller.abort()
    }),
  unknown: () =>
    acting.failure(() => generateText({ ...asked, model: provider(acting.UNKNOWN) })),
})
