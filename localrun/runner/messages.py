"""Messages between the server and a runner: one dataclass a message, plain values only.

``frames.py`` encodes them. Invariant: a submitted request ends in exactly one terminal event. The
text of all sequences that is sent after a step of the scheduler travels in one `Step`.

    server -> runner    Load, then Generate* / Cancel* / Tokenize* / Detokenize* / Embed* /
                        Rerank* / Count* / Ping*; the runner exits when the socket closes
    runner -> server    LoadProgress*, Ready | LoadFailed, then for each request
                        Generate             Started, text in Step*, Finished | Failed
                        Tokenize, Detokenize Tokens | Failed
                        Embed                Embeddings | Failed
                        Rerank               Ranks | Failed
                        Count                Counts
                        and at any time      Stats, MemoryChanged, ProjectorUse, Pong,
                                             WorkerLost
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from localrun.chat.media_marks import media_of
from localrun.engine.params import (
    ConstraintSpec,
    FinishReason,
    LoadOptions,
    OverflowPolicy,
    Pooling,
    SamplingParams,
)
from localrun.load_rules import DEFAULT_MEDIA_CACHE_BYTES, DEFAULT_READING_SPEED

JsonObject = dict[str, Any]
CANCELLED = "cancelled"  # code of the `Failed` that ends a cancelled request
# bytes of a token, logarithm of its probability, the same of the likeliest in its place
# (None for the first token of a text)
Score = tuple[bytes, float | None, tuple[tuple[bytes, float], ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Load one model; the first message to a runner."""

    model_paths: tuple[str, ...]  # one, or the shards in order
    chat_template: str | None = None  # of the first request, compiled while the model loads
    adapters: tuple[tuple[str, float], ...] = ()  # LoRAs and scales for all embeddings
    num_ctx: int | None = None  # tokens for one sequence; None = no plan
    num_parallel: int = 16  # sequences decoded together
    num_threads: int | None = None
    num_gpu_layers: int = -1  # -1 = all that fit
    options: LoadOptions = field(default_factory=LoadOptions)
    draft_paths: tuple[str, ...] = ()  # of the draft model, as model_paths
    requires_draft: bool = True  # else the model is loaded without a draft model that fails
    has_mtp: bool = False  # the file has MTP layers that are used
    num_cells: int = 0  # of the cache; never fewer than num_ctx
    tensor_split: tuple[float, ...] = ()  # layers for each GPU; empty = llama.cpp divides them
    num_host_experts: int = 0  # layers, from the first, whose experts stay on the CPU
    host_cache_bytes: int = 0  # of the host's memory for prefixes that left the cells
    reading_speed: int = DEFAULT_READING_SPEED  # tokens a second of those who read streams
    projector_path: str | None = None  # of images and sounds
    projector_problem: str = ""  # why the model's projector is not used
    projector_hint: str = ""  # what to type then
    media_cache_bytes: int = DEFAULT_MEDIA_CACHE_BYTES  # of embeddings of encoded media
    ffmpeg: str = ""  # program that reads sounds in other containers
    workers: tuple[str, ...] = ()  # names, in the order of the links that come with this message
    keeps_output: bool = False  # the output matrix stays in the host's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """A prompt to render or to tokenize."""

    # with ``media`` a message has images, sounds and documents: see chat/media_marks.py
    messages: tuple[JsonObject, ...] | None = None
    text: str = ""  # used as it is, special tokens parsed, if messages is None
    media: tuple[JsonObject, ...] = ()  # of the text, whose marks have numbers
    tools: tuple[JsonObject, ...] = ()
    template_options: JsonObject = field(default_factory=dict)  # enable_thinking, ...
    chat_template: str | None = None  # Jinja, in place of the one in the file
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # the prompt ends inside the last message

    @property
    def all_media(self) -> list[JsonObject]:
        """Return the media of the messages, or of the text."""
        return list(self.media) if self.messages is None else media_of(self.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The options of a generation that no default of a recipe changes.

    The request of the server carries it and `Generate` contains it, so the server's code
    in between names none of the fields.
    """

    prompt: PromptSpec = field(default_factory=PromptSpec)
    prompt_tokens: tuple[int, ...] = ()  # in place of the prompt, as they are
    context: tuple[int, ...] = ()  # tokens of an earlier conversation that the messages continue
    suffix: str | None = None  # text behind a gap that is filled; the prompt is before the gap
    prediction: str | None = None  # expected text of the answer, from which draft tokens are taken
    constraint: ConstraintSpec | None = None  # grammar or schema of the answer
    tool_choice: str = "auto"  # "none", "required", or the name of the tool to call
    parallel_tool_calls: bool = True  # False = at most one call
    thinking_budget: int | None = None  # most tokens of a thought; None = any number
    logprobs: int | None = None  # number of alternatives to score for each token; None = no scores
    echo: bool = False  # return the prompt in `Started`
    returns_tokens: bool = False  # return the tokens of prompt and answer in `Finished`
    is_streamed: bool = False  # somebody reads the answer while it is generated


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Generate an answer to a prompt."""

    request_id: int
    generation: Generation = field(default_factory=Generation)
    sampling: SamplingParams = field(default_factory=SamplingParams)
    num_predict: int | None = None  # None = until the context is full
    stop: tuple[str, ...] = ()
    overflow: OverflowPolicy = field(default_factory=OverflowPolicy)
    adapters: tuple[tuple[str, float], ...] = ()  # (path of a LoRA, its scale)
    is_background: bool = False  # gives way to requests that are not
    model_name: str = ""  # drafts come from earlier answers of the same one
    uses_draft_model: bool = True  # if one is loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel a request; it ends with reason CANCELLED unless it has ended already."""

    request_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenize:
    """Return the tokens of a prompt."""

    request_id: int
    prompt: PromptSpec = field(default_factory=PromptSpec)
    is_start: bool = True  # add the tokens that the vocabulary wants at a beginning
    parses_special: bool = True  # parse control tokens in the prompt's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detokenize:
    """Return the text of tokens."""

    request_id: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """Progress of the load: the loaded fraction of the weights, 0 to 1."""

    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded."""

    num_ctx: int  # tokens for one sequence
    num_parallel: int
    device: str  # "CPU", or the description of the device that holds the layers
    size_bytes: int  # memory taken by weights, KV cache and compute buffers
    size_gpu_bytes: int
    load_s: float
    memory: tuple[tuple[str, int], ...] = ()  # (device, bytes taken there)
    num_threads: int = 0  # of the CPU that compute
    draft_sources: tuple[str, ...] = ()  # of speculative decoding; empty if it is not possible
    cpu_variant: str = ""  # of the CPU's backend, "haswell"; empty if it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailed:
    """The model cannot be loaded; the runner exits after this message."""

    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost:
    """The link to a worker has ended, and llama.cpp needs it; the runner exits after this."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The prompt is rendered and tokenized; the request waits for a slot."""

    request_id: int
    prompt_tokens: int
    prompt_tail: str  # end of the rendered prompt, where the template may have opened a region
    profile: JsonObject | None = None  # formats of reasoning and tool calls (chat/profiles)
    prompt: str | None = None  # if the request has `Generation.echo`
    dropped_messages: int = 0  # left out so that the prompt fits
    dropped_tokens: int = 0  # the size of those messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Text that is sent after a scheduler step: (request id, text), at most one pair a request."""

    deltas: tuple[tuple[int, str], ...]
    scores: tuple[tuple[int, tuple[Score, ...]], ...] = ()  # of requests that have a delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The request has ended."""

    request_id: int
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int  # of these, found in the prefix cache
    generated_tokens: int
    queue_s: float  # waited for a slot
    prompt_s: float  # prefill
    generation_s: float
    drafted_tokens: int = 0  # draft tokens that were verified
    accepted_tokens: int = 0  # of these, the correct ones
    drafts: tuple[tuple[str, int, int], ...] = ()  # (draft source, verified tokens, accepted ones)
    dropped_tokens: int = 0  # removed from the context during generation
    stop: str | None = None  # the stop string that ended it
    tokens: tuple[int, ...] = ()  # of prompt and answer, if `Generation.returns_tokens`
    thought_tokens: int = 0  # of the generated ones
    predicted_right: int | None = None  # of `Generation.prediction`; None without one
    predicted_wrong: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request failed; ``code`` is a ``LocalrunError.code``."""

    request_id: int
    code: str
    message: str
    hint: str | None = None
    param: str | None = None  # the field that is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChanged:
    """The memory of adapters that are loaded for requests has changed."""

    adapter_bytes: int


@dataclass(frozen=True, slots=True)
class ProjectorUse:
    """The projector begins to load or to encode, or has ended.

    If the process ends in between, the projector is the cause.
    """

    is_begun: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Request a `Pong`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """Heartbeat of the runner; its reader thread answers, also during a step."""

    num_steps: int  # so far
    cpu_s: float  # processor time of the process so far
    is_working: bool
    num_tokens: int = 0  # generated so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The answer to `Tokenize` and `Detokenize`: the tokens and their text."""

    request_id: int
    tokens: tuple[int, ...]
    text: str
    pieces: tuple[bytes, ...]  # bytes of each token, maybe a part of a character
    num_ctx: int  # of the loaded model


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Compute the embeddings of texts or of lists of token ids."""

    request_id: int
    inputs: tuple[str | tuple[int, ...], ...]
    pooling: Pooling | None = None  # None = that of the model's file, or else the mean
    truncate: bool = False  # cut inputs that are too long instead of refusing them
    dimensions: int | None = None  # how many numbers of each vector to keep


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """Score each document by its relevance to the query."""

    request_id: int
    query: str
    documents: tuple[str, ...]
    truncate: bool = False  # cut documents that are too long instead of refusing them


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The answer to `Embed`."""

    request_id: int
    vectors: bytes  # float32, little-endian, one vector after the other; each of length 1
    dimensions: int
    token_counts: tuple[int, ...]  # of each input


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The answer to `Rerank`."""

    request_id: int
    scores: tuple[float, ...]  # in the order of the documents
    are_probabilities: bool  # else logits: any number, 0 is undecided
    token_counts: tuple[int, ...]  # of each pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Count the resources of the engine, between two steps."""

    request_id: int
    forget: bool = False  # evict all cached prefixes first


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The answer to `Count`."""

    request_id: int
    num_open: int  # requests that have not ended
    num_cells: int  # of the KV cache, in use by sequences and cached prefixes
    num_holders: int  # sequences of llama.cpp that have any of them, as it says itself
    num_samplers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Load of the runner: sent on changes, at most once a second, and when it becomes idle."""

    num_running: int = 0
    num_waiting: int = 0
    num_cells: int = 0  # tokens that the KV cache holds at most
    num_allocated_cells: int = 0  # of them, those that it may use now: the others took no memory
    num_used_cells: int = 0
    lacks_memory: bool = False  # more cells were wanted, but too little memory was free
    uses_streams: bool = False  # each running sequence has cells of its own
    is_transposed: bool = False  # the values in these cells: attention is not flash attention
    num_layout_switches: int = 0  # changes of the layout


Prepared = Generate | Tokenize | Detokenize | Embed | Rerank
Submitted = Prepared | Count
Request = Load | Submitted | Cancel | Ping
Terminal = Finished | Failed | Tokens | Embeddings | Ranks | Counts
Event = (
    LoadProgress
    | Stats
    | Ready
    | LoadFailed
    | WorkerLost
    | Started
    | Step
    | MemoryChanged
    | ProjectorUse
    | Pong
    | Terminal
)
