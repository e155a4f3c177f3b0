"""A cloud in one process: buckets and TPU VMs as folders, and a `gcloud` that asks it what to do.

The `gcloud` on PATH sends its arguments here and runs the shell code that comes back, so a call
costs a few milliseconds. A VM's commands run on this machine, with a home of their own.
"""

import os
import re
import shlex
import shutil
import signal
import socketserver
import threading
from pathlib import Path

from fake_groups import Groups, error, ssh

CLIENT = """ask() {
  local answer
  exec 3<>"/dev/tcp/127.0.0.1/$STUB_PORT"
  printf '%s\\0' "$(($# + 2))" "${STUB_VM:-laptop}" "$PWD" "$@" >&3
  read -rd '' -u 3 answer
  exec 3>&-
  eval "$answer"
}
"""


class Cloud:
    """Attributes say what has happened and, before that, what shall go wrong.

    groups       the cloud's other half, where machines are Compute Engine's
    environment  of programs on its machines
    calls        (where, arguments) of every call; where is "laptop" or "worker-0"
    journal      (call, path, content) of every object that changed; without content: deleted
    created      names of TPUs, once for every creation
    preempt      [2, 5]: the first TPU is lost once a checkpoint "after 2 steps" is in a bucket, ...
    lost         what is then told of the queued resource, and of its node
    first_state  of a queued resource
    workers      machines of a TPU
    refused      commands that fail, such as "create"
    kill_at      before this call (from 0) the process group that makes it is killed
    meanwhile    called before every call is answered, and by the command `ask meanwhile`
    """

    def __init__(self, folder):
        self.buckets, self.tpus = folder / "buckets", folder / "tpus"
        self.groups, self.environment = Groups(self, folder / "machines"), {}
        self.buckets.mkdir()
        self.tpus.mkdir()
        self.calls, self.journal, self.created = [], [], []
        self.preempt, self.lost = [], ("SUSPENDED", "PREEMPTED")
        self.first_state = "WAITING_FOR_RESOURCES"
        self.workers, self.refused = 1, set()
        self.kill_at, self.meanwhile = None, lambda: None
        self._lock = threading.Lock()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self, folder):
        """End every process of the VMs in a folder, as when the power goes."""
        marks = [f"{name}={folder}".encode() for name in ("HOME", "STARTS")]
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if any(mark in path.read_bytes() for mark in marks):
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except OSError:
                pass

    def close(self):
        """End what still runs; no more calls are answered."""
        self.kill(self.tpus.parent)
        self.groups.close()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        cloud = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                words = []
                while not words or len(words) <= int(words[0]):
                    words.append(_word(self.rfile))
                    if words[-1] is None:
                        return  # the caller was killed
                with cloud._lock:
                    cloud._here = Path(words[2])
                    answer = cloud._answer(words[1], words[3:])
                self.wfile.write(answer.encode() + b"\0")

        return Handler

    def _answer(self, where, arguments):
        """Shell code for the caller."""
        if len(self.calls) == self.kill_at:
            return "kill -KILL 0"
        self.meanwhile()
        if arguments == ["meanwhile"]:
            return ""
        if arguments[0] == "curl":
            return self.groups.metadata(where, arguments[-1])
        self.calls.append((where, ["gcloud", *arguments]))
        flags, words = {}, []
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if argument.startswith("--"):
                flags[name] = value if equals else True
            else:
                words.append(argument)
        if words[0] == "storage":
            return self._storage(words[1], words[2:], flags)
        if words[0] == "config":
            return "echo ours"
        if words[1] != "tpus":
            return self.groups.answer(words[1:], flags)
        return self._compute(words[2:], flags)

    # ---- TPUs -----------------------------------------------------------------------------------

    def _compute(self, words, flags):
        kind, verb, *rest = words
        if verb in self.refused or not flags.get("--zone"):
            return error(f"({verb}) refused")
        if verb == "list":
            return self._list(kind, re.search(r"/(.*)\$", flags["--filter"])[1])
        if verb == "create":
            return self._create(rest[0], flags["--node-id"])
        name = next(word.partition(":")[0] for word in rest if "/" not in word.partition(":")[0])
        tpu = self.tpus / name
        if not tpu.exists():
            return error("NOT_FOUND")
        if verb == "delete":
            self.kill(tpu)
            shutil.rmtree(tpu)
            return ""
        if verb == "describe":
            return "echo the reason"
        if self.state(name) != "ACTIVE":
            return error("the machine does not answer", 255)
        homes = sorted(tpu.glob("worker-*"))
        if flags["--worker"] != "all":
            homes = [homes[int(flags["--worker"])]]
        if verb == "scp":
            return self._scp(*rest, homes)
        return "".join(ssh(home, flags["--command"]) for home in homes) + "exit ${failed:-0}"

    def state(self, name, new=None):
        """The state of a queued resource, which is a file."""
        path = self.tpus / name / "state"
        if new:
            path.write_text(new)
        return path.read_text() if path.exists() else None

    def has(self, name):
        """A TPU is there already, and active."""
        self._create(name, name)
        self.state(name, "ACTIVE")

    def _create(self, name, node):
        if self.state(name) or name != node:
            return error("ALREADY_EXISTS")
        for number in range(self.workers):
            (self.tpus / name / f"worker-{number}").mkdir(parents=True)
        self.state(name, self.first_state)
        self.created.append(name)
        return ""

    def _list(self, kind, name):
        """State of a queued resource or its node; looking brings it one step on."""
        found = self.state(name)
        if found == "LOST":
            return f"echo {self.lost[kind == 'tpu-vm']}"
        if kind == "tpu-vm":
            return "echo READY" if found else ""
        if found == "WAITING_FOR_RESOURCES":
            self.state(name, "ACTIVE")
        elif found == "ACTIVE" and len(self.created) <= len(self.preempt):
            wanted = self.preempt[len(self.created) - 1]
            if self.saved_step() >= wanted:
                self.kill(self.tpus / name)
                self.state(name, "LOST")
        return f"echo {found}" if found else ""

    def saved_step(self):
        """Of the newest checkpoint in a bucket."""
        texts = [path.read_text() for path in self.buckets.glob("**/checkpoints/*.json")]
        return max((int(re.search(r'"step": (\d+)', text)[1]) for text in texts), default=-1)

    def _scp(self, source, target, homes):
        if ":" in target:
            for home in homes:
                shutil.copy(self.local(source), home / target.partition(":")[2])
        else:
            shutil.copy(homes[0] / source.partition(":")[2], self.local(target))
        return ""

    # ---- Buckets --------------------------------------------------------------------------------

    def _storage(self, verb, words, flags):
        if verb in self.refused:
            return error(f"({verb}) the server cannot be reached")
        if verb == "rsync":
            return self._rsync(*words, flags)
        if verb == "cp" and words[0] == "-":
            target = self.local(words[1])
            target.parent.mkdir(parents=True, exist_ok=True)
            return f"cat > {shlex.quote(str(target))}"
        if verb == "cp" and not self.local(words[0]).exists():
            return error(f"(gcloud.storage.cp) {words[0]} matched no objects")
        if verb == "cp":
            return self._put(self.local(words[0]), self.local(words[1]))
        found = self._matching(words[0])
        if not found:
            return error(f"(gcloud.storage.{verb}) One or more URLs matched no objects.")
        texts = [path.read_text() if verb == "cat" else f"{path}\n" for path in found]
        return f"printf %s {shlex.quote(''.join(texts))}"

    def local(self, url):
        """Where an object is, or a file."""
        return self.buckets / url[5:] if url.startswith("gs://") else self._here / url

    def _matching(self, url):
        """Objects of a URL with `*` for any text; of a folder, all below it."""
        pattern = re.escape(str(self.local(url))).replace(r"\*", ".*")
        pattern += "/.*" if url.endswith("/") else ""
        return [path for path in tree(self.buckets).values() if re.fullmatch(pattern, str(path))]

    def _rsync(self, source_url, target_url, flags):
        source, target = self.local(source_url), self.local(target_url)
        if not source.is_dir() or (self.buckets in source.parents and not tree(source)):
            return error(f"Did not find existing container at: {source_url}")
        excluded = re.compile(flags.get("--exclude", "$^"))
        wanted = {name: path for name, path in tree(source).items() if not excluded.match(name)}
        there = tree(target)
        for name, path in wanted.items():
            if name not in there or _facts(path) != _facts(there[name]):
                self._put(path, target / name)
        if "--delete-unmatched-destination-objects" in flags:
            for name in there.keys() - wanted.keys():
                self._note(there[name], None)
                there[name].unlink()
        return ""

    def _put(self, source, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        shutil.copy2(source, partial)
        partial.rename(target)  # an object appears at once
        self._note(target, target.read_bytes())
        return ""

    def _note(self, path, content):
        if self.buckets in path.parents:
            name = str(path.relative_to(self.buckets))
            self.journal.append((len(self.calls) - 1, name, content))


def tree(folder):
    """Every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".partial"
    }


def _word(stream):
    """What comes before the next zero byte; None if none does."""
    data = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            return None
        data += byte
    return data.decode()


def _facts(path):
    """What gcloud compares: the size, and the time in whole seconds."""
    found = path.stat()
    return found.st_size, int(found.st_mtime)
