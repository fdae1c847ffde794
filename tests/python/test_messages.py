# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.messages: lazy, private, picklable, and at peace with an installed Ray."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.message import Message

import gcs_cffi
from gcs_cffi import messages

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(gcs_cffi.__file__).parent


def run_python(code: str) -> str:
    """Runs the code in a fresh interpreter, away from the source tree, and returns its output."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def all_classes() -> list[type[Message]]:
    found: list[type[Message]] = []

    def add(cls: type[Message]) -> None:
        found.append(cls)
        for nested in cls.DESCRIPTOR.nested_types:
            add(getattr(cls, nested.name))

    for module in (messages, messages.autoscaler, messages.events):
        for name in dir(module):
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, Message):
                add(value)
    return found


def a_node() -> messages.GcsNodeInfo:
    return messages.GcsNodeInfo(
        node_id=b"\x01" * 28,
        state=messages.GcsNodeInfo.DEAD,
        resources_total={"CPU": 4.0},
        labels={"zone": "a"},
        state_snapshot={"state": "DRAINING", "node_activity": ["tasks"]},
        death_info=messages.NodeDeathInfo(reason=messages.NodeDeathInfo.UNEXPECTED_TERMINATION),
    )


def test_importing_the_module_imports_no_protobuf() -> None:
    code = "import sys, gcs_cffi.messages; print('google.protobuf' in sys.modules)"
    assert run_python(code).strip() == "False"


def test_questions_that_tools_ask_of_every_module_import_no_protobuf() -> None:
    code = (
        "import sys, gcs_cffi.messages as m\n"
        "print(hasattr(m, '__wrapped__'), hasattr(m.events, '__path__'))\n"
        "print('google.protobuf' in sys.modules)"
    )
    assert run_python(code).split() == ["False", "False", "False"]


def test_first_use_by_many_threads_gives_all_of_them_the_same_class() -> None:
    code = (
        "import threading, gcs_cffi.messages as m\n"
        "barrier, found = threading.Barrier(16), []\n"
        "def ask():\n"
        "    barrier.wait()\n"
        "    found.append(m.GcsNodeInfo)\n"
        "threads = [threading.Thread(target=ask) for _ in range(16)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(len(found), len(set(found)))"
    )
    assert run_python(code).split() == ["16", "1"]


def test_the_default_pool_never_hears_of_the_bundled_schema() -> None:
    code = (
        "import gcs_cffi.messages as m; m.GcsNodeInfo\n"
        "from google.protobuf import descriptor_pool\n"
        "try: descriptor_pool.Default().FindMessageTypeByName('ray.rpc.GcsNodeInfo')\n"
        "except KeyError: print('unknown')"
    )
    assert run_python(code).strip() == "unknown"


@pytest.mark.parametrize("order", [("ours", "theirs"), ("theirs", "ours")])
def test_usable_beside_ray_in_either_order(order: tuple[str, str]) -> None:
    steps = {
        "ours": "from gcs_cffi import messages as ours; ours.GcsNodeInfo",
        "theirs": "import ray; from ray.core.generated import gcs_pb2 as theirs",
    }
    code = "\n".join(
        [
            "import pickle",
            *(steps[step] for step in order),
            "a = ours.GcsNodeInfo(node_name='n', labels={'zone': 'a'}, state='DEAD')",
            "b = theirs.GcsNodeInfo.FromString(a.SerializeToString())",
            "assert (b.node_name, b.labels['zone']) == ('n', 'a')",
            "assert b.state == theirs.GcsNodeInfo.DEAD",
            "assert ours.GcsNodeInfo.FromString(b.SerializeToString()) == a",
            "assert type(b) is not type(a)",
            "nested = ours.GetAllNodeInfoRequest.NodeSelector(node_name='n')",
            "assert type(pickle.loads(pickle.dumps(nested))) is type(nested)",
            "print(type(a).__module__)",
        ]
    )
    assert run_python(code).strip() == "gcs_cffi.messages"


def test_every_class_says_where_it_can_be_fetched() -> None:
    classes = all_classes()
    assert len(classes) > 300
    for cls in classes:
        found: object = sys.modules[cls.__module__]
        assert found in (messages, messages.autoscaler, messages.events)
        for part in cls.__qualname__.split("."):
            found = getattr(found, part)
        assert found is cls


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_message_survives_pickle(protocol: int) -> None:
    for cls in all_classes():
        message = cls()
        restored = pickle.loads(pickle.dumps(message, protocol))
        assert restored == message
        assert type(restored) is cls
    node = a_node()
    assert pickle.loads(pickle.dumps(node, protocol)) == node


def test_a_pickle_can_be_read_by_another_process() -> None:
    text = pickle.dumps(a_node()).hex()
    code = f"import pickle; print(pickle.loads(bytes.fromhex({text!r})).labels['zone'])"
    assert run_python(code).strip() == "a"


@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_a_copy_is_equal_and_apart(copier: object) -> None:
    assert callable(copier)
    node = a_node()
    twin = copier(node)
    assert twin == node
    assert type(twin) is messages.GcsNodeInfo
    twin.labels["zone"] = "b"
    assert node.labels["zone"] == "a"


def test_enums_are_there_the_way_protobuf_shows_them() -> None:
    info = messages.GcsNodeInfo
    assert (info.ALIVE, info.DEAD) == (0, 1)
    assert info.GcsNodeState.Name(1) == "DEAD"
    assert info.GcsNodeState.Value("DEAD") == info.DEAD
    assert info(state="DEAD").state == info.DEAD


def test_dir_and_star_import_name_everything() -> None:
    names = dir(messages)
    assert {"GcsStatus", "GcsNodeInfo", "InternalKVGetRequest", "message_class"} <= set(names)
    code = "from gcs_cffi.messages import *; print(GcsStatus.__name__, message_class.__name__)"
    assert run_python(code).split() == ["GcsStatus", "message_class"]


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"gcs_cffi\.messages.*NoSuchMessage"):
        messages.NoSuchMessage  # type: ignore[attr-defined] # noqa: B018


def test_message_class_finds_by_full_name() -> None:
    assert messages.message_class("ray.rpc.GcsNodeInfo") is messages.GcsNodeInfo
    nested = messages.message_class("ray.rpc.GetAllNodeInfoRequest.NodeSelector")
    assert nested is messages.GetAllNodeInfoRequest.NodeSelector


@pytest.mark.parametrize("name", ["GcsNodeInfo", "ray.rpc.NoSuchMessage", ""])
def test_message_class_names_what_it_did_not_find(name: str) -> None:
    with pytest.raises(LookupError, match=f"'{name}'"):
        messages.message_class(name)


def test_method_types_takes_short_and_full_service_names() -> None:
    expected = (messages.GetAllNodeInfoRequest, messages.GetAllNodeInfoReply)
    assert messages.method_types("NodeInfoGcsService", "GetAllNodeInfo") == expected
    assert messages.method_types("ray.rpc.NodeInfoGcsService", "GetAllNodeInfo") == expected


@pytest.mark.parametrize(
    ("service", "method"),
    [("NodeInfoGcsService", "NoSuchMethod"), ("NoSuchService", "GetAllNodeInfo"), ("", "")],
)
def test_method_types_is_none_for_what_is_not_known(service: str, method: str) -> None:
    assert messages.method_types(service, method) is None


def test_a_missing_schema_says_that_the_package_must_be_installed(tmp_path: Path) -> None:
    copied = tmp_path / "gcs_cffi"
    (copied / "messages").mkdir(parents=True)
    for name in (
        *(f"messages/{module}.py" for module in ("__init__", "autoscaler", "events")),
        *("_lazy_messages.py", "_bundled_schema.py", "_schema.py"),
    ):
        (copied / name).write_text((PACKAGE / name).read_text())
    (copied / "__init__.py").touch()
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from gcs_cffi import messages\n"
        "try: messages.GcsStatus\n"
        "except ImportError as error: print(error)"
    )
    assert "install the package" in run_python(code)


def test_the_committed_stub_is_what_the_schema_gives() -> None:
    script = ROOT / "tools" / "generate_messages_pyi.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_check_of_the_stub_notices_a_changed_schema(tmp_path: Path) -> None:
    schema = (PACKAGE / "schema.binpb").read_bytes()
    changed = tmp_path / "schema.binpb"
    changed.write_bytes(schema.replace(b"node_activity", b"node_activitx"))
    script = ROOT / "tools" / "generate_messages_pyi.py"
    done = subprocess.run(
        [sys.executable, script, "--check", "--schema", changed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "stale" in done.stderr
    assert "node_activitx" in done.stderr
