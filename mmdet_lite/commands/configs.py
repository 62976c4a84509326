"""Looking at configs: print-config, get-flops, migrate-config.

Heavy imports happen inside the functions, after what can be checked without them.
"""

from __future__ import annotations

import argparse

from mmdet_lite.arguments import add_config, add_input_size, add_options, log_to_console
from mmdet_lite.commands.command import Command


def _print_config_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--build", action="store_true", help="build the model too and print its parameters"
    )
    parser.add_argument(
        "--state-dict", metavar="FILE", help="write names and shapes of the weights as JSON"
    )


def _print_config(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.print_config import print_config

    print_config(cfg, args.build, args.state_dict)


def _flops_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_input_size(parser)


def _flops(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    from mmdet_lite.apis.flops import print_flops

    print_flops(cfg, args.size)


def _migrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="config file of MMDetection 3.x")
    parser.add_argument("out", help="file to write")
    add_options(parser)


def _migrate(args: argparse.Namespace) -> None:
    from mmdet_lite.apis.migrate import migrate_config

    log_to_console()
    migrate_config(args.config, args.out, args.cfg_options)


COMMANDS = {
    "print-config": Command(
        "Print a config with its bases resolved, in this package's form.",
        _print_config_arguments,
        _print_config,
    ),
    "get-flops": Command(
        "Count a model's parameters and the operations of detecting in one image.",
        _flops_arguments,
        _flops,
    ),
    "migrate-config": Command(
        "Write a config of MMDetection as one of this package.", _migrate_arguments, _migrate
    ),
}
