"""A ComfyUI for tests: it starts in an instant, speaks the part of the protocol that the benchmark uses, and "makes"
a video by copying the uploaded one.

It knows two nodes: ``LoadClip`` (``file``) and ``SaveClip`` (``clip``, ``text``, ``seed``, ``filename_prefix``). The
result is the clip followed by a "free" box, which players skip, with the text and the seed, so that no two jobs have
the same result. What else happens depends on the text: ``refuse`` is refused, ``fail`` fails, ``hang`` never ends,
``hang and refuse to stop`` does so and leaves whoever would stop it without an answer, ``die`` kills the server,
``written elsewhere`` goes to the folder of ``--fake-state``.

Options: ``--fake-state FOLDER`` (or the environment's ``FAKE_STATE``): a line ``<pid> <text> <seed>`` per executed
output is appended to ``calls.txt`` there when it begins, and a line ``<pid>`` per start to ``starts.txt``. With a
file ``refuse to start`` there no server starts; with a file ``hold`` that says ``N`` the Nth call waits until it
is removed. ``--fake-seconds S``: how long a job takes. All of ComfyUI's own options are accepted.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TEXT, NUMBER = ["STRING", {}], ["INT", {}]
NODES = {
    "LoadClip": {"input": {"required": {"file": TEXT}}, "display_name": "Load Clip"},
    "SaveClip": {
        "input": {"required": {"clip": ["CLIP_FILE"], "text": TEXT, "seed": NUMBER, "filename_prefix": TEXT}},
        "display_name": "Save Clip",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--input-directory", type=Path)
    parser.add_argument("--output-directory", type=Path)
    parser.add_argument("--fake-state", type=Path, default=os.environ.get("FAKE_STATE"))
    parser.add_argument("--fake-seconds", type=float, default=0.0)
    options, _ = parser.parse_known_args()
    note(options.fake_state, "starts.txt", os.getpid())
    if options.fake_state and (options.fake_state / "refuse to start").exists():
        sys.exit("refused to start, as told")
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.options, server.histories, server.busy = options, {}, threading.Lock()
    server.stuck = False
    server.serve_forever()


def note(folder: Path | None, name: str, *words: object) -> None:
    if folder:
        with (folder / name).open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")


def hold(folder: Path | None) -> None:
    if folder:
        number = len((folder / "calls.txt").read_text().splitlines())
        while (folder / "hold").exists() and (folder / "hold").read_text() == str(number):
            time.sleep(0.02)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/history/"):
            prompt_id = self.path.rpartition("/")[2]
            found = self.server.histories.get(prompt_id)
            self.answer({prompt_id: found} if found else {})
        elif self.path == "/object_info":
            self.answer(NODES)
        elif self.path == "/system_stats":
            self.answer({})
        else:
            self.answer({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image":
            self.answer({"name": self.uploaded(body)})
        elif self.path == "/prompt":
            self.prompt(json.loads(body)["prompt"])
        elif not (self.server.stuck and self.path == "/queue"):
            self.answer({})

    def answer(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def uploaded(self, body: bytes) -> str:
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        head, _, rest = body.partition(b"\r\n\r\n")
        name = head.decode().partition('filename="')[2].partition('"')[0]
        (self.server.options.input_directory / name).write_bytes(rest[: rest.rindex(b"\r\n--" + boundary)])
        return name

    def prompt(self, prompt: dict) -> None:
        for node_id, node in prompt.items():
            if node["class_type"] not in NODES or node["inputs"].get("text") == "refuse":
                error = {"message": "Value not in list", "details": "as told"}
                errors = {node_id: {"errors": [error], "class_type": node["class_type"]}}
                return self.answer({"error": {"message": "refused"}, "node_errors": errors}, 400)
        prompt_id = uuid.uuid4().hex
        threading.Thread(target=self.execute, args=(prompt_id, prompt), daemon=True).start()
        return self.answer({"prompt_id": prompt_id, "node_errors": {}})

    def execute(self, prompt_id: str, prompt: dict) -> None:
        with self.server.busy:
            outputs, messages = {}, []
            for node_id, node in prompt.items():
                if node["class_type"] == "SaveClip":
                    try:
                        outputs[node_id] = {"images": [self.save(node["inputs"], prompt)], "animated": [True]}
                    except RuntimeError as error:
                        blame = {"node_id": node_id, "node_type": "SaveClip", "exception_message": str(error)}
                        messages.append(["execution_error", blame])
            self.server.histories[prompt_id] = {"outputs": outputs, "status": {"messages": messages}}

    def save(self, inputs: dict, prompt: dict) -> dict:
        options, text, seed = self.server.options, inputs["text"], inputs["seed"]
        note(options.fake_state, "calls.txt", os.getpid(), text, seed)
        hold(options.fake_state)
        time.sleep(options.fake_seconds)
        if text == "die":
            os._exit(9)
        if text.startswith("hang"):
            self.server.stuck = "refuse to stop" in text
            time.sleep(3600)
        if text == "fail":
            raise RuntimeError("out of memory, as told\n")
        clip = (options.input_directory / prompt[inputs["clip"][0]]["inputs"]["file"]).read_bytes()
        said = f"{text}/{seed}".encode()
        folder = options.fake_state if text == "written elsewhere" else options.output_directory
        file = folder / f"{inputs['filename_prefix']}_00001_.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(clip + struct.pack(">I", len(said) + 8) + b"free" + said)
        return {
            "filename": file.name,
            "subfolder": os.path.relpath(file.parent, options.output_directory),
            "type": "output",
        }


if __name__ == "__main__":
    main()
