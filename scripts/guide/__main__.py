"""``scripts/train-guide``: from templates to ``guide.gguf``, its projector and an adapter.

Keeps what later steps need in this folder: ``tokenizer.json`` and
``weights.safetensors`` (float16), from which ``--export F16`` makes the file that
tests of quantization start from.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from guide import corpus, heads, pictures
from guide.adapter import AdapterShape, train_adapter
from guide.evaluate import PAGE, write_table
from guide.export import FILE_TYPES, save_tensors, write_adapter, write_model
from guide.network import Guide, Shape
from guide.projector_file import word_rows, write_part
from guide.teach import LESSON_PEAK, LESSON_SAMPLES, Lesson, teach
from guide.train import Plan, fit_tokenizer, new_network, train, weights_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guide.projector_file import Part

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WEIGHTS = HERE / "weights.safetensors"
TOKENIZER = HERE / "tokenizer.json"
FIGURES = HERE / "figures.json"  # written by scripts/eval-guide --write
MODEL = ROOT / "localrun" / "data" / "guide.gguf"
PROJECTOR = MODEL.with_name("mmproj-guide.gguf")
ADAPTERS = ROOT / "modelfiles" / "adapters"
GO_ON_PEAK = 0.5
_log = logging.getLogger("guide")


def main(arguments: Sequence[str]) -> None:
    """Run the steps that the arguments ask for; without any, all of them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.export:
        _export(options.out or Path(f"guide-{options.export}.gguf"), options.export)
        return
    if options.draft or options.mtp:
        _train_heads(options)
        return
    if options.eyes or options.ears:
        (_train_eyes if options.eyes else _train_ears)(options)
        return
    if options.teach:
        _teach(options)
        return
    if options.average:
        _average(options.average)
    elif not options.adapter_only:
        _train_model(options)
    _train_adapter(options.adapter_samples)


def load_network(weights: Path = WEIGHTS) -> tuple[Guide, Tokenizer]:
    """Return a network, by default the kept one, and its tokenizer."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    network = Guide(Shape(vocab=tokenizer.get_vocab_size()))
    tensors = load_file(weights)
    network.load_state_dict(
        {name: torch.from_numpy(t.astype(np.float32)) for name, t in tensors.items()}
    )
    return network, tokenizer


def _train_model(options: argparse.Namespace) -> None:
    plan = Plan(
        samples=options.samples, seed=options.seed, peak=GO_ON_PEAK if options.go_on else 1.0
    )
    network, tokenizer = load_network() if options.go_on else _begin(plan.seed)
    network = train(network, tokenizer, plan, torch.device(options.device), _log.info)
    _keep(network)


def _keep(network: Guide) -> None:
    halves = {name: tensor.astype(np.float16) for name, tensor in weights_of(network).items()}
    save_tensors(WEIGHTS, halves)
    _export(MODEL, "Q8_0")


def _teach(options: argparse.Namespace) -> None:
    """Teach the kept weights one skill; the adapter and the projector still fit them."""
    lesson = Lesson(
        skill=options.teach,
        samples=options.teach_samples,
        peak=options.teach_peak,
        seed=options.seed,
    )
    (network, tokenizer), (teacher, _) = load_network(), load_network(options.teacher)
    _keep(teach(network, teacher, tokenizer, lesson, _log.info))


def _train_eyes(options: argparse.Namespace) -> None:
    """Train the encoder of pictures for the embedding of the kept model."""
    from guide.eyes import accuracy, encoder, projector, training

    rows = torch.from_numpy(word_rows(MODEL, pictures.WORDS))
    plan = training.Plan(seed=options.seed)
    trained = training.train(rows, encoder.Shape(out=rows.shape[1]), plan, _log.info)
    figures = accuracy.measure(trained, rows)
    write_table(PAGE, "eyes", f"held-out pictures ({accuracy.COUNT} each)", figures)
    _write_encoder(projector.part(trained, figures))


def _train_ears(options: argparse.Namespace) -> None:
    """Train the encoder of sounds for the embedding of the kept model."""
    from guide.ears import accuracy, encoder, projector, sounds, training

    rows = torch.from_numpy(word_rows(MODEL, sounds.WORDS))
    plan = training.Plan(seed=options.seed)
    trained = training.train(rows, encoder.Shape(out=rows.shape[1]), plan, _log.info)
    figures = accuracy.measure(trained, rows)
    write_table(PAGE, "ears", f"held-out sounds ({accuracy.COUNT} each)", figures)
    _write_encoder(projector.part(trained, figures))


def _write_encoder(part: Part) -> None:
    write_part(PROJECTOR, part)
    _log.info("wrote %s, %.1f MB", PROJECTOR, PROJECTOR.stat().st_size / 1e6)


def _train_heads(options: argparse.Namespace) -> None:
    """Train what drafts tokens for the kept model."""
    guide, tokenizer = load_network()
    plan = Plan(samples=options.samples, seed=options.seed)
    if options.draft:
        heads.train_draft(options.draft, tokenizer, plan, _log.info)
    if options.mtp:
        heads.train_mtp(options.mtp, guide, tokenizer, plan, _log.info)


def _average(other: Path) -> None:
    """Keep the mean of the kept weights and those of another run that went on from them.

    Two ends of one training are each better at something; their mean is good at both.
    """
    kept, others = load_file(WEIGHTS), load_file(other)
    mean = {name: (kept[name].astype(np.float32) + others[name]) / 2 for name in kept}
    save_tensors(WEIGHTS, {name: tensor.astype(np.float16) for name, tensor in mean.items()})
    _export(MODEL, "Q8_0")


def _begin(seed: int) -> tuple[Guide, Tokenizer]:
    tokenizer = fit_tokenizer(seed)
    tokenizer.save(str(TOKENIZER))
    return new_network(tokenizer, seed), tokenizer


def _train_adapter(samples: int) -> None:
    network, tokenizer = load_network()
    shape = AdapterShape()
    tensors = train_adapter(network, tokenizer, shape, samples=samples, report=_log.info)
    ADAPTERS.mkdir(parents=True, exist_ok=True)
    write_adapter(ADAPTERS / "pirate", ADAPTERS / "pirate.gguf", tensors, shape)


def _export(path: Path, file_type: str) -> None:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    shape = Shape(vocab=tokenizer.get_vocab_size())
    figures = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
    write_model(path, load_file(WEIGHTS), tokenizer, shape, file_type=file_type, figures=figures)
    _log.info("wrote %s, %.1f MB", path, path.stat().st_size / 1e6)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/train-guide", description=__doc__)
    parser.add_argument(
        "--samples", type=int, default=Plan().samples, help="conversations to train on"
    )
    parser.add_argument("--adapter-samples", type=int, default=12_000)
    parser.add_argument("--adapter-only", action="store_true", help="train just the adapter again")
    parser.add_argument("--go-on", action="store_true", help="train the kept weights further")
    parser.add_argument(
        "--average", type=Path, help="take the mean with these weights instead of training"
    )
    parser.add_argument("--eyes", action="store_true", help="train just the encoder of pictures")
    parser.add_argument("--ears", action="store_true", help="train just the encoder of sounds")
    parser.add_argument(
        "--teach", choices=corpus.WEIGHTS, help="teach the kept weights one more skill"
    )
    parser.add_argument("--teach-samples", type=int, default=LESSON_SAMPLES)
    parser.add_argument("--teach-peak", type=float, default=LESSON_PEAK, help="of AdamW's rate")
    parser.add_argument(
        "--teacher", type=Path, default=WEIGHTS, help="weights whose answers are kept"
    )
    parser.add_argument("--draft", type=Path, help="train just a draft model, into this file")
    parser.add_argument(
        "--mtp", type=Path, help="train just an MTP layer; this file gets guide with it"
    )
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--export", choices=sorted(FILE_TYPES), help="only write the kept weights as GGUF"
    )
    parser.add_argument("--out", type=Path, help="where --export writes")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
