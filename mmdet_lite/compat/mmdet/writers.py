"""Where MMDetection shows a run, ``vis_backends``, as the section ``writers``."""

from __future__ import annotations

from mmdet_lite.compat.mmdet.read import Native, Section

_OWN_FILES = "train.log, log.jsonl, curves.png and curves.html are written"
_NOT_PASSED_ON = "what is shown, and how a resumed run is continued, is this package's"


def writers(top: Section) -> list[Native] | None:
    """Native writers, from ``visualizer.vis_backends`` or the variable ``vis_backends``.

    Args:
        top: the config.

    Returns:
        None: no backend that needs a writer of its own is named, so TensorBoard's is written if it
        is installed.
    """
    visualizer = top.section_or_empty("visualizer")
    visualizer.has_no_effect("this package's own", *(set(visualizer.content) - {"vis_backends"}))
    backends = visualizer.sections("vis_backends")
    if backends:
        top.has_no_effect("the visualizer has its own", "vis_backends")
    else:
        backends = top.sections("vis_backends")
    found = [writer for backend in backends if (writer := _writer(backend)) is not None]
    return found if any(one["type"] != "TensorBoardWriter" for one in found) else None


def _writer(backend: Section) -> Native | None:
    kinds = {"WandbVisBackend": _wandb, "MLflowVisBackend": _mlflow}
    if backend.type in kinds:
        return kinds[backend.type](backend)
    if backend.type == "TensorboardVisBackend":
        backend.has_no_effect(_NOT_PASSED_ON, *backend)
        return {"type": "TensorBoardWriter"}
    if backend.type == "LocalVisBackend":
        backend.has_no_effect(_OWN_FILES, *backend)
    else:
        backend.is_otherwise(_OWN_FILES, keys=["type"])
        backend.has_no_effect(_OWN_FILES, *(set(backend.content) - {"type"}))
    return None


def _wandb(backend: Section) -> Native | None:
    own = backend.section_or_empty("init_kwargs")
    writer = own.copy("project", "entity", "name", "mode")
    own.has_no_effect(_NOT_PASSED_ON, *(set(own.content) - set(writer)))
    backend.has_no_effect(_NOT_PASSED_ON, *(set(backend.content) - {"init_kwargs"}))
    if writer.get("mode") == "disabled":
        return None
    return {"type": "WandbWriter", **writer}


def _mlflow(backend: Section) -> Native:
    writer = backend.copy("tracking_uri", experiment="exp_name", name="run_name")
    taken = {"tracking_uri", "exp_name", "run_name"}
    backend.has_no_effect(_NOT_PASSED_ON, *(set(backend.content) - taken))
    return {"type": "MLflowWriter", **{k: v for k, v in writer.items() if v is not None}}
