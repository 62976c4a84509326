"""Arguments that several subcommands of the command line have in common."""

from __future__ import annotations

import argparse
import sys

from mmdet_lite.literals import read_literal


class _Options(argparse.Action):
    """KEY=VALUE pairs, values as MMDetection reads them (1e-3, [1,2], True, text), or dicts."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        options = dict(getattr(namespace, self.dest) or {})
        for pair in values:
            key, equals, text = pair.partition("=")
            if not key or not equals:
                parser.error(
                    f"{option_string}: expected KEY=VALUE, got {pair!r} (no spaces around '=' or "
                    "in a list, or quotes around the whole)"
                )
            options[key] = _parse_value(text, parser, f"{option_string} {key}")
        setattr(namespace, self.dest, options)


def _parse_value(text: str, parser: argparse.ArgumentParser, what: str) -> object:
    from mmengine.config import DictAction

    try:
        if "{" in text or "dict(" in text:
            return read_literal(text)
        if " " in text:  # which mmengine takes out, of names and paths too
            return _read_spaced(text)
        parsed = argparse.Namespace()
        DictAction([what], "pairs", nargs="+")(parser, parsed, [f"value={text}"])
        return parsed.pairs["value"]
    except (ValueError, SyntaxError, AssertionError, RecursionError) as error:
        parser.error(f"{what}: cannot read the value {text!r}: {error}")


def _read_spaced(text: str) -> object:
    """A value with spaces: a Python literal, or else text as it stands."""
    try:
        return read_literal(text)
    except (ValueError, SyntaxError):
        if text[0] in "[(\"'":
            raise
        return text


def positive(text: str) -> int:
    """A whole number above 0, for ``type=``."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def add_input_size(parser: argparse.ArgumentParser) -> None:
    """``--size WIDTH HEIGHT`` of what a network is given."""
    parser.add_argument(
        "--size",
        type=positive,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="of the network input in pixels; default: that of all images of the config's "
        "test_data, or 1280 800",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """A config and options that change it."""
    parser.add_argument("config", help="config file, or the path of a shipped one")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that change a config."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_Options,
        metavar="KEY=VALUE",
        help="change the config: dotted keys, numbers index lists, e.g. optimizer.lr=0.01 "
        "'train_data.dataset.pipeline.0.scale=(667,400)'",
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """What started the processes."""
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm"],
        help="what started the processes: torchrun (pytorch), srun (slurm), or nothing, for one "
        "process; default: torchrun if it did, else none",
    )
    # torch.distributed.launch, which older scripts use, passes it; torchrun sets LOCAL_RANK
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def log_to_console() -> None:
    """Show the package's own messages, nothing but them."""
    import logging

    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("mmdet_lite").setLevel(logging.INFO)
