"""One model file, loaded: vocabulary, tokenizer and metadata.

Knows token ids and text, not sequences. Safe to use from any thread once loaded
(tokenizing only reads the vocabulary).
"""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.cache.memory_kind import MemoryKind
from localrun.engine.llama.placement import EVEN_SPLIT, TensorSplit, place
from localrun.engine.llama.text_chunks import TextChunker
from localrun.engine.params import LoadOptions, Pooling
from localrun.errors import LoadError
from localrun.gguf.encoders import only_embeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog
    from localrun.hardware.device import Device

PIECE_BYTES = 256
VALUE_BYTES = 256
GUARD = "\x01"  # a byte of its own in vocabularies of SentencePiece
POOLINGS = {"1": Pooling.MEAN, "2": Pooling.CLS, "3": Pooling.LAST, "4": Pooling.RANK}
DEFAULT_OPTIONS = LoadOptions()
SPECIAL = (  # tokens that llama.cpp looks for in a text before it splits words
    api.LLAMA_TOKEN_ATTR_CONTROL | api.LLAMA_TOKEN_ATTR_USER_DEFINED | api.LLAMA_TOKEN_ATTR_UNKNOWN
)


class Model:
    """The weights and the vocabulary."""

    def __init__(self, handle: object, devices: tuple[Device, ...] = ()) -> None:
        self.handle = handle
        self.devices = devices  # those with layers; none where the processor does it all
        self.vocab = llama_cpp.llama_model_get_vocab(handle)
        self.num_vocab: int = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.eog = frozenset(
            token
            for token in range(self.num_vocab)
            if llama_cpp.llama_vocab_is_eog(self.vocab, token)
        )
        spelled = [self.tokenized_piece(token) for token in range(self.num_vocab)]
        self._spelled = spelled  # of a prompt: also what ends a text
        self.longest_piece = max(map(len, spelled), default=1)  # bytes
        self.pieces = [
            b"" if token in self.eog else spelled[token] for token in range(self.num_vocab)
        ]
        self.bos = self._token_text(llama_cpp.llama_vocab_bos(self.vocab))  # "" without one
        self._attributes = [
            llama_cpp.llama_vocab_get_attr(self.vocab, token) for token in range(self.num_vocab)
        ]
        self._cutter = self._open_cutter()

    @property
    def trained_context(self) -> int:
        """Return the context of the training, in tokens."""
        return int(llama_cpp.llama_model_n_ctx_train(self.handle))

    @property
    def shares_cells(self) -> bool:
        """Return whether sequences can share the cells of a common prefix.

        Full attention only. The state of recurrent and hybrid models has no prefix, and
        a window drops its beginning.
        """
        return self.memory.is_plain

    @property
    def memory(self) -> MemoryKind:
        """Return what the model remembers a sequence by."""
        is_recurrent = bool(llama_cpp.llama_model_is_recurrent(self.handle))
        return MemoryKind(
            has_cells=not is_recurrent,
            has_window=llama_cpp.llama_model_n_swa(self.handle) > 0,
            has_state=is_recurrent or bool(llama_cpp.llama_model_is_hybrid(self.handle)),
        )

    @property
    def only_embeds(self) -> bool:
        """Return whether the model turns text into numbers and writes none."""
        pooling = self.metadata(f"{self.metadata('general.architecture')}.pooling_type")
        number = int(pooling) if pooling.isdecimal() else None
        return only_embeds(self.metadata("general.architecture"), number)

    @property
    def has_encoder(self) -> bool:
        """Return whether a part of the model reads the whole text before another writes (T5)."""
        return bool(llama_cpp.llama_model_has_encoder(self.handle))

    @property
    def pooling(self) -> Pooling | None:
        """Return how the file wants vectors to be pooled, None where it does not say."""
        pooling = self.metadata(f"{self.metadata('general.architecture')}.pooling_type")
        return POOLINGS.get(pooling)

    @property
    def embedding_length(self) -> int:
        """Return how many numbers an embedding has."""
        return int(llama_cpp.llama_model_n_embd_out(self.handle))

    @property
    def separators(self) -> dict[str, int]:
        """Return the tokens that the vocabulary wants around texts: of bos, eos and sep."""
        vocab = self.vocab
        bos, sep = llama_cpp.llama_vocab_bos(vocab), llama_cpp.llama_vocab_sep(vocab)
        eos = llama_cpp.llama_vocab_eos(vocab)
        wanted = {
            "bos": (bos, llama_cpp.llama_vocab_get_add_bos(vocab)),
            "eos": (eos if eos >= 0 else sep, llama_cpp.llama_vocab_get_add_eos(vocab)),
            "sep": (sep, llama_cpp.llama_vocab_get_add_sep(vocab)),
        }
        return {name: token for name, (token, add) in wanted.items() if add and token >= 0}

    @property
    def ends_inputs(self) -> bool:
        """Return whether tokenizing puts a token at the end."""
        return bool(self.separators.keys() & {"eos", "sep"})

    @property
    def class_labels(self) -> list[str]:
        """Return what the outputs of a head for ranking are called, "" for one without a name."""
        labels = (
            llama_cpp.llama_model_cls_label(self.handle, index)
            for index in range(llama_cpp.llama_model_n_cls_out(self.handle))
        )
        return [label.decode(errors="replace") if label else "" for label in labels]

    @property
    def rerank_template(self) -> str | None:
        """Return the prompt for a pair, with ``{query}`` and ``{document}`` in it."""
        source: bytes | None = llama_cpp.llama_model_chat_template(self.handle, b"rerank")
        return source.decode(errors="replace") if source else None

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all weights."""
        return int(llama_cpp.llama_model_size(self.handle))

    @property
    def chat_template(self) -> str | None:
        """Return the Jinja source in the file, None where there is none."""
        source: bytes | None = llama_cpp.llama_model_chat_template(self.handle, None)
        return source.decode(errors="replace") if source else None

    @property
    def bos_token(self) -> int | None:
        """Return the beginning-of-sequence token, whether tokenizing adds it or not."""
        token = int(llama_cpp.llama_vocab_bos(self.vocab))
        return token if token >= 0 else None

    @property
    def eos(self) -> str:
        """Return the text of the end-of-sequence token, "" without one."""
        return self._token_text(llama_cpp.llama_vocab_eos(self.vocab))

    @property
    def control_texts(self) -> list[str]:
        """Return what the control tokens look like in a prompt."""
        return [
            self._token_text(token)
            for token, attribute in enumerate(self._attributes)
            if attribute & api.LLAMA_TOKEN_ATTR_CONTROL
        ]

    def control_token(self, text: str) -> int | None:
        """Return the token that a tag is and that no text spells for a grammar; None without one.

        As llguidance has it: control tokens, and what a user defined between angle brackets.
        """
        tokens = self.tokenize(text, is_start=False)
        if len(tokens) != 1:
            return None
        attributes = llama_cpp.llama_vocab_get_attr(self.vocab, tokens[0])
        is_tag = text.startswith("<") and text.endswith(">")
        wanted = api.LLAMA_TOKEN_ATTR_CONTROL | is_tag * api.LLAMA_TOKEN_ATTR_USER_DEFINED
        return tokens[0] if attributes & wanted else None

    def tokenize(
        self, text: str, *, is_start: bool = True, tick: Callable[[], object] = bool
    ) -> list[int]:
        """Return the token ids of a rendered prompt, or of a later piece of one.

        Text of control tokens becomes these tokens. At the start, the
        beginning-of-sequence token is put in front where the vocabulary wants it and
        the text has none. ``tick`` is called between the parts of a long text; what it
        raises ends the tokenizing.
        """
        add_special = is_start and not (self.bos and text.startswith(self.bos))
        parts = self._cutter.parts(text)
        tokens = self._tokenized(next(parts), add_special=add_special)
        end: list[int] = []
        for part in parts:
            if not end and add_special and self.ends_inputs:
                end.append(tokens.pop())
            tick()
            tokens += self._tokenized(part, add_special=False)
        return tokens + end

    def _tokenized(self, text: str, *, add_special: bool) -> list[int]:
        """Return what llama.cpp makes of one part of a text."""
        data = text.encode(errors="replace")
        capacity = len(data) + 8  # a token is at least a byte; some vocabularies add a few
        buffer = (api.llama_token * capacity)()
        parse_special = True
        count = llama_cpp.llama_tokenize(
            self.vocab, data, len(data), buffer, capacity, add_special, parse_special
        )
        if count < 0:
            capacity = -count
            buffer = (api.llama_token * capacity)()
            count = llama_cpp.llama_tokenize(
                self.vocab, data, len(data), buffer, capacity, add_special, parse_special
            )
        return list(buffer[:count])

    def tokenize_inside(self, text: str, *, tick: Callable[[], object] = bool) -> list[int]:
        """Return the token ids of a text that goes on where another one ended.

        SentencePiece puts a blank before a text. Here it goes before a byte that merges with
        nothing, whose tokens are then taken off.
        """
        if not (text and self._puts_blank):
            return self.tokenize(text, is_start=False, tick=tick)
        guard = self.tokenize(GUARD, is_start=False)
        tokens = self.tokenize(GUARD + text, is_start=False, tick=tick)
        if tokens[: len(guard)] != guard:  # the vocabulary has no bytes
            return self.tokenize(text, is_start=False, tick=tick)
        return tokens[len(guard) :]

    @cached_property
    def _puts_blank(self) -> bool:
        first = self.tokenize("x", is_start=False)[:1]
        return any(self.tokenized_piece(token).startswith(b" ") for token in first)

    def tokenized_piece(self, token: int) -> bytes:
        """Return the bytes of a token as a prompt spells it, control tokens included."""
        size = PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            special = True
            length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def metadata(self, key: str) -> str:
        """Return a value of the file's header as text, "" without one."""
        buffer = ctypes.create_string_buffer(VALUE_BYTES)
        length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, VALUE_BYTES)
        return buffer.value.decode(errors="replace") if length >= 0 else ""

    def spelled_piece(self, token: int) -> bytes:
        """Return the bytes of a token, also of one that ends the text."""
        return self._spelled[token]

    def load_adapter(self, path: Path) -> object:
        """Load a LoRA adapter for this model; it is freed with the model at the latest.

        Raises:
            LoadError: llama.cpp does not take the file: damaged, or made for another model.
        """
        handle = llama_cpp.llama_adapter_lora_init(self.handle, os.fsencode(path))
        if not handle:
            raise LoadError(
                f"the adapter {path.name} does not fit the model",
                hint="localrun create -f Modelfile   checks adapters and tells what is wrong",
            )
        return handle

    def free_adapter(self, handle: object) -> None:
        """Free an adapter that no context uses."""
        llama_cpp.llama_adapter_lora_free(handle)

    def close(self) -> None:
        """Free the weights; nothing of this object may be used afterwards."""
        llama_cpp.llama_model_free(self.handle)

    def _token_text(self, token: int) -> str:
        return self.tokenized_piece(token).decode(errors="replace") if token >= 0 else ""

    def _open_cutter(self) -> TextChunker:
        """Return what cuts long texts for the tokenizer, by the attributes of the tokens."""
        texts = {
            token: llama_cpp.llama_vocab_get_text(self.vocab, token).decode(errors="replace")
            for token, attribute in enumerate(self._attributes)
            if attribute & SPECIAL
        }
        greedy = [
            text
            for token, text in texts.items()
            if self._attributes[token] & api.LLAMA_TOKEN_ATTR_LSTRIP
        ]
        has_words = llama_cpp.llama_vocab_type(self.vocab) == api.LLAMA_VOCAB_TYPE_BPE
        return TextChunker(list(texts.values()), greedy, has_words=has_words)


def load_model(
    shards: Sequence[Path],
    *,
    native_log: NativeLog,
    num_gpu_layers: int,
    options: LoadOptions = DEFAULT_OPTIONS,
    split: TensorSplit = EVEN_SPLIT,
    on_progress: Callable[[float], None],
) -> Model:
    """Load a GGUF file, or all shards of one in order; ``num_gpu_layers`` -1 means all.

    Raises:
        LoadError: llama.cpp does not take the file; with its own last words.
        BackendError: a device of ``options`` has gone.
    """
    params = llama_cpp.llama_model_default_params()
    placement = place(params, options, num_gpu_layers)
    if placement.devices:
        split.apply(params)
    if options.use_mmap is not None:
        params.use_mmap = options.use_mmap
    callback = api.llama_progress_callback(lambda fraction, _data: _go_on(on_progress, fraction))
    params.progress_callback = callback
    handle = _load(shards, params)
    if not handle:
        raise LoadError(
            f"{shards[0].name} could not be loaded: "
            + (native_log.last_complaint() or "llama.cpp gives no reason")
        )
    return Model(handle, placement.devices)


def _load(shards: Sequence[Path], params: object) -> object:
    paths = [os.fsencode(path) for path in shards]
    if len(paths) == 1:
        return llama_cpp.llama_model_load_from_file(paths[0], params)
    array = (ctypes.c_char_p * len(paths))(*paths)
    return llama_cpp.llama_model_load_from_splits(array, len(paths), params)


def _go_on(on_progress: Callable[[float], None], fraction: float) -> bool:
    """Report progress; True tells llama.cpp to go on."""
    on_progress(fraction)
    return True
