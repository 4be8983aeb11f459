"""Configuration files in the documented shape of each tool, with comments and foreign entries.

Written for these tests; nothing of a user. A tool with several files has one sample for each.
"""

from __future__ import annotations

CONTINUE = """\
# My assistant
name: Work
version: 1.0.1
schema: v1
models:
  - name: Sonnet  # paid
    provider: anthropic
    model: claude-sonnet
    apiKey: ${{ secrets.ANTHROPIC_API_KEY }}
    roles: [chat, edit]
  # the small one
  - uses: mistral/codestral
rules:
  - Be brief.
mcpServers: []
"""
ZED = """\
// Zed settings
{
  "theme": "One Dark", // at night
  "buffer_font_size": 15,
  "language_models": {
    "openai_compatible": {
      "Together": {
        "api_url": "https://api.together.xyz/v1",
        "available_models": [{ "name": "mixtral", "max_tokens": 32768 }],
      },
    },
  },
  "agent": {
    "default_profile": "ask",
    "default_model": { "provider": "zed.dev", "model": "claude" },
  },
  /* languages */
  "languages": { "Python": { "tab_size": 4 } },
}
"""
VSCODE_MODELS = """\
[
	{
		"name": "Azure",
		"vendor": "azure",
		"models": [
			{ "id": "gpt", "name": "GPT", "url": "https://x.openai.azure.com", "toolCalling": true }
		]
	}
]
"""
VSCODE_SETTINGS = """\
{
    // Editor
    "editor.fontSize": 13,
    "files.exclude": { "**/.git": true }, // hidden
    "[python]": {
        "editor.formatOnSave": true,
    },
}
"""
ROO = """\
{
  "providerProfiles": {
    "currentApiConfigName": "default",
    "apiConfigs": { "default": { "id": "a1", "apiProvider": "openrouter" } },
    "modeApiConfigs": { "code": "a1" }
  },
  "globalSettings": { "autoApprovalEnabled": false }
}
"""
CODEX = """\
# Codex
model = "gpt-5.5" # the default
model_reasoning_effort = "medium"
approval_policy = "on-request"

[model_providers.azure]
name = "Azure"
base_url = "https://x.openai.azure.com/openai/v1"
env_key = "AZURE_OPENAI_API_KEY"

[projects."/home/me/project"]
trust_level = "trusted"

[mcp_servers.docs]
command = "docs-mcp" # local
args = ["--port", "1"]

[tui]
notifications = true
"""
CLAUDE = """\
{
  "permissions": {
    "allow": ["Bash(npm run test:*)"],
    "deny": ["Read(./.env)"]
  },
  "env": {
    "MY_VARIABLE": "kept"
  },
  "hooks": {}
}
"""
OPENCODE = """\
{
  "$schema": "https://opencode.ai/config.json",
  // my theme
  "theme": "tokyonight",
  "model": "anthropic/claude-sonnet",
  "provider": {
    "anthropic": { "options": { "timeout": 600000 } },
  },
  "mcp": {},
}
"""
CLINE = """\
{
  "version": 1,
  "lastUsedProvider": "anthropic",
  "modes": {},
  "providers": {
    "anthropic": {
      "settings": { "provider": "anthropic", "apiKey": "sk-kept", "model": "claude" },
      "updatedAt": "2026-10-01T10:00:00.000Z",
      "tokenSource": "manual"
    }
  }
}
"""
DROID = """\
{
  "customModels": [
    {
      "model": "gpt-oss",
      "displayName": "Mine",
      "baseUrl": "https://example.com/v1",
      "apiKey": "${MINE_API_KEY}",
      "provider": "generic-chat-completion-api",
      "maxOutputTokens": 16384
    }
  ],
  "sessionDefaultSettings": { "model": "opus", "autonomyLevel": "low" },
  "theme": "dark"
}
"""
QWEN = """\
{
  "$version": 3,
  // providers
  "modelProviders": {
    "openai": [
      { "id": "qwen3-coder-plus", "baseUrl": "https://x.example/v1", "envKey": "DASHSCOPE_API_KEY" }
    ]
  },
  "model": { "name": "qwen3-coder-plus" },
  "ui": { "theme": "GitHub" }
}
"""
PI_MODELS = """\
{
  "providers": {
    "lmstudio": {
      "baseUrl": "http://localhost:1234/v1",
      "api": "openai-completions",
      "apiKey": "lmstudio",
      "models": [{ "id": "local-model" }]
    }
  }
}
"""
PI_SETTINGS = """\
{
  "lastChangelogVersion": "0.70.0",
  "defaultProvider": "anthropic",
  "theme": "dark"
}
"""
GOOSE = """\
GOOSE_PROVIDER: anthropic  # default
GOOSE_MODEL: claude-sonnet
GOOSE_MODE: smart_approve
extensions:
  developer:
    bundled: true
    enabled: true
    name: developer
    type: builtin
# the end
"""
OPENCLAW = """\
// OpenClaw
{
  gateway: { port: 18789, auth: { token: 'kept' } },
  agents: {
    defaults: {
      model: { primary: 'anthropic/claude' }, // changed by hand
      workspace: '~/.openclaw/workspace',
    },
  },
}
"""
HERMES = """\
# Hermes
model: ""
terminal:
  backend: local  # not docker
  timeout: 180
toolsets:
- hermes-cli
compression:
  enabled: true
"""
AIDER = """\
# aider
dark-mode: true
auto-commits: false   # I do it
read:
  - CONVENTIONS.md
model: sonnet
"""
AIDER_METADATA = """\
{
  "deepseek/deepseek-chat": { "max_tokens": 4096, "litellm_provider": "deepseek", "mode": "chat" }
}
"""
CRUSH = """\
{
  "$schema": "https://charm.land/crush.json",
  "lsp": { "go": { "command": "gopls" } },
  "providers": {
    "deepseek": { "type": "openai-compat", "base_url": "https://api.deepseek.com/v1" }
  },
  "options": { "tui": { "compact_mode": true } }
}
"""
LLM = """\
- model_id: orca
  model_name: orca.gguf   # local
  api_base: "http://localhost:8080"
- model_id: second
  model_name: other
"""
JUPYTER = """\
{
    "model_provider_id": "anthropic/claude",
    "send_with_shift_enter": true,
    "fields": { "anthropic/claude": { "temperature": 0.5 } },
    "custom_models": []
}
"""
N8N = """\
[
  { "id": "7", "name": "mine", "type": "httpBasicAuth", "data": {} }
]
"""

SAMPLES: dict[str, tuple[str, ...]] = {
    "aider": (AIDER, AIDER_METADATA),
    "claude-code": (CLAUDE,),
    "cline": (CLINE,),
    "codex": (CODEX,),
    "continue": (CONTINUE,),
    "crush": (CRUSH,),
    "droid": (DROID,),
    "goose": ("", GOOSE),
    "hermes": (HERMES,),
    "jupyter-ai": (JUPYTER,),
    "llm": (LLM,),
    "n8n": (N8N,),
    "openclaw": (OPENCLAW,),
    "opencode": (OPENCODE,),
    "pi": (PI_MODELS, PI_SETTINGS),
    "qwen-code": (QWEN,),
    "roo": (ROO, VSCODE_SETTINGS),
    "vscode": (VSCODE_MODELS,),
    "zed": (ZED,),
}
