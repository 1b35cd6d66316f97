"""Commands that must fail, and must not say why in the words of a patient or of a secret."""

from __future__ import annotations

import json
from typing import Any

from tests.privacy import worlds
from tests.privacy.desk import Command, Desk


def sources(desk: Desk) -> list[Command]:
    """Sources that are missing, empty, a file, or at no address that is known; annotations that are none."""
    out, commands = str(desk.folder / "out" / "never"), list[Command]()
    for n, source in enumerate(desk.sources):
        scheme = source["uri"].split(":")[0]
        missing = worlds.named(desk.folder / "sources", desk.canaries, f"missing {scheme}")
        empty = worlds.named(desk.folder / "sources", desk.canaries, f"empty {scheme}")
        empty.mkdir()
        (empty / f"{desk.canaries.text('stray file')}.txt").write_text("nothing")
        file = min((desk.folder / "sources").rglob("*.dcm"))
        strange = f"strange://{desk.canaries.text('strange address')}/{desk.canaries.text('strange address')}"
        for what, place in (("missing", missing), ("empty", empty), ("file", file), ("strange", strange)):
            recipe = desk.write_recipe(f"{what}{n}", {"sources": [source | {"uri": f"{scheme}:{place}"}]})
            commands.append((f"{what}-{scheme}", {}, ["plan", str(recipe), "--json"]))
    broken = worlds.named(desk.folder / "sources", desk.canaries, "broken arcade")
    annotations = broken / "stenosis" / "train" / "annotations"
    annotations.mkdir(parents=True)
    said = desk.canaries.text("COCO file name")
    body = {"categories": [], "annotations": [], "images": [{"id": 1, "file_name": f"{said}.png"}]}
    (annotations / "train.json").write_text(json.dumps(body))
    recipe = desk.write_recipe("broken", {"sources": [{"uri": f"arcade:{broken}"}]})
    commands.append(("broken-arcade", {}, ["generate", str(recipe), "--out", out]))
    return commands


def secrets(desk: Desk) -> list[Command]:
    """Secrets where none may be, and an endpoint that quotes one."""
    out = str(desk.folder / "out" / "never")
    secret = desk.secret
    wrong: dict[str, dict[str, Any]] = {
        "options": {"storage_options": {"key": secret("key"), "secret": secret("secret")}},
        "deep": {"storage_options": {"client_kwargs": {"aws_session_token": secret("token")}}},
        "out-url": {"out": f"ftp://jane:{secret('password')}@127.0.0.1/x"},
        "source-url": {"sources": [{"uri": f"dicom:sftp://jane:{secret('password')}@127.0.0.1/x"}]},
    }
    commands: list[Command] = [
        (f"refused-{name}", {}, ["generate", str(desk.write_recipe(f"refused-{name}", changes)), "--in-process"])
        for name, changes in wrong.items()
    ]
    override = f"storage_options.secret={secret('override')}"
    address = f"http://{secret('user')}:{secret('password')}@127.0.0.1:9"
    keys = {"AWS_ACCESS_KEY_ID": secret("key"), "AWS_SECRET_ACCESS_KEY": secret("secret")}
    commands += [
        ("refused-set", {}, ["generate", str(desk.recipe), "--out", out, "--set", override]),
        ("refused-out", {}, ["generate", str(desk.recipe), "--out", f"ftp://a:{secret('password')}@127.0.0.1/x"]),
        ("unreachable", {**keys, "AWS_ENDPOINT_URL": address}, ["generate", str(desk.recipe), "--out", "s3://b/x"]),
    ]
    return commands
