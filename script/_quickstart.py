"""The steps of ``script/quickstart``, run with the Python of ``.venv``: each shows the command it runs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRONGROOM = str(Path(sys.executable).with_name("strongroom"))
PREFIX = "webapp/"
READS = 1000


def say(text: str) -> None:
    """Print the heading of a step."""
    print(f"\n==> {text}", flush=True)


def strongroom(*arguments: str, status: int = 0, quiet: bool = False) -> str:
    """Run one command in the store's folder, showing it and what it prints."""
    if not quiet:
        print(f"$ strongroom {' '.join(arguments)}", flush=True)
    done = subprocess.run([STRONGROOM, *arguments], capture_output=True, text=True, check=False)
    if not quiet:
        print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode != status:
        sys.exit(f"quickstart: expected exit status {status}, got {done.returncode}: {done.stderr}")
    return done.stdout


def serve_once(sample: bool) -> None:
    """Start a real program with the secrets in its environment, and ask it once over loopback."""
    arguments = ["run", "--prefix", PREFIX, "--strip-prefix", "--", sys.executable]
    if not sample:
        names = "import os; print(f'the program started, with {len(os.environ)} variables in its environment')"
        strongroom(*arguments, "-c", names)
        return
    program = str(ROOT / "docs/samples/webapp.py")
    print(f"$ strongroom {' '.join([*arguments[:-1], 'python', 'docs/samples/webapp.py'])}", flush=True)
    with subprocess.Popen([STRONGROOM, *arguments, program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                print(f"$ curl http://127.0.0.1:{port}/health\n{answer.read().decode()}", flush=True)
        finally:
            server.terminate()


def read_often(name: str) -> None:
    """Read one secret many times through the cache, in this process."""
    import strongroom as library

    with library.open() as manager:
        started = time.perf_counter()
        for _ in range(READS):
            manager.get(name)
        spent = time.perf_counter() - started
        stats = manager.stats()
    print(
        f"{stats.reads} reads in {spent * 1000:.1f} ms: {stats.loads} from the store, "
        f"{stats.hits} from the cache, hit rate {stats.hit_rate:.1%}"
    )


def tamper(folder: Path) -> None:
    """Flip one byte in a copy of the store and show what comes of it."""
    copy = folder / "tampered"
    copy.mkdir(mode=0o700)
    for name in ("strongroom.toml", "master.key", "secrets.db"):
        shutil.copy2(folder / name, copy / name)
    content = bytearray((copy / "secrets.db").read_bytes())
    content[_inside_a_record(content)] ^= 0x01
    (copy / "secrets.db").write_bytes(content)
    print("$ cp -p strongroom.toml master.key secrets.db tampered/   # then one bit is flipped in the copy")
    strongroom("--config", str(copy / "strongroom.toml"), "local", "verify", status=8)


def _inside_a_record(content: bytearray) -> int:
    """Return the place of a byte that holds ciphertext: the middle of the longest run without a zero byte.

    The file's first page is left out: it holds the names of the tables.
    """
    first = int.from_bytes(content[16:18])
    runs, start = [], first
    for place, byte in enumerate([*content[first:], 0], start=first):
        if byte == 0:
            runs.append((place - start, start))
            start = place + 1
    length, begin = max(runs)
    return begin + length // 2


def main() -> None:
    """Go through the steps."""
    source = Path(sys.argv[1]).resolve()
    sample = source == (ROOT / "docs/samples/webapp.env").resolve()
    folder = Path(tempfile.mkdtemp(prefix="strongroom-quickstart-"))
    os.chdir(folder)
    say(f"A new encrypted store, its key and its configuration, in {folder}")
    strongroom("init")
    say(f"The secrets of {source.name} go in, encrypted")
    strongroom("import", str(source), "--prefix", PREFIX)
    names = json.loads(strongroom("list", PREFIX, "--json", quiet=True))
    strongroom("list", PREFIX)
    say("A real program starts with them in its environment")
    serve_once(sample)
    say(f"One of them is read {READS:,} times in one process, through the cache")
    read_often(names[0])
    say("One is rotated: a new random value, the old version kept")
    strongroom("rotate", names[-1], "--encoding", "base64url")
    strongroom("versions", names[-1])
    say("Every access was recorded, and the trail verifies")
    strongroom("stats")
    strongroom("audit", "tail", "--last", "5")
    strongroom("audit", "verify")
    say("What is stored cannot be changed unnoticed")
    tamper(folder)
    say("Go on")
    print(f"cd {folder}")
    for command in (f"get {names[0]}", "audit report", "doctor"):
        print(f"{STRONGROOM} {command}")


if __name__ == "__main__":
    main()
