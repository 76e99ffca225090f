"""A headless Chromium, and a small reader study to open in it."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from reader_cases import SETTINGS, write_shards, write_stack

from msdiff.__main__ import main

ALLOWED = "MSDIFF_BROWSER"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
# What is left of a screen of 1366 x 768 inside a browser's window.
VIEWPORT = {"width": 1366, "height": 640}


@pytest.fixture(scope="session")
def chromium():
    """The program; where there is none, it is installed, as MSDIFF_BROWSER=1 allows."""
    if os.environ.get(ALLOWED) != "1":
        pytest.skip(f"{ALLOWED} is not 1: it allows to start Chromium on this machine, and to install it")
    found = _found()
    if found is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("no Chromium, and only root installs it, with apt-get")
        # Tests in other processes want it too, and `apt-get update` does not wait for another one.
        with (Path(tempfile.gettempdir()) / "msdiff-chromium.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _found() is None:
                _install()
        found = _found()
    return found


def _found():
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def _install():
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Another test run's installation may hold the lock.
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
        subprocess.run([*command, *step], check=True, env=environment, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def playwright(chromium):
    """Playwright, which drives the machine's own Chromium and downloads none."""
    with pytest.importorskip("playwright.sync_api").sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright, chromium):
    """One browser for all tests; each takes a context of its own, as a fresh profile."""
    with playwright.chromium.launch(executable_path=chromium, args=FLAGS) as started:
        yield started


@pytest.fixture(scope="session")
def profile(playwright, chromium):
    """A function for a browser with a profile on disk, which stays when the browser has ended."""

    @contextmanager
    def opened(folder):
        context = playwright.chromium.launch_persistent_context(
            str(folder), executable_path=chromium, args=FLAGS, viewport=VIEWPORT
        )
        yield context
        context.close()

    return opened


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The exported study: its page and key, and its data."""
    folder = tmp_path_factory.mktemp("study")
    stack = folder / "stack"
    stack.mkdir()
    write_stack(stack)
    shards = write_shards(stack, folder)
    page, key = folder / "reader/reader_study.html", folder / "key.tsv"
    values = json.dumps(SETTINGS)
    words = [
        "--stack",
        str(stack),
        "--shards",
        *map(str, shards),
        "--page",
        str(page),
        "--key",
        str(key),
        "--keys",
        str(folder / "keys"),
    ]
    assert main(["reader-study", "export", *words, "--settings", values]) == 0
    assert list(page.parent.iterdir()) == [page]
    return SimpleNamespace(page=page, key=key, keys=folder / "keys", stack=stack, shards=shards)


@pytest.fixture
def page(browser, study):
    """The study's page in a fresh profile."""
    with browser.new_context(viewport=VIEWPORT) as context:
        opened = context.new_page()
        opened.goto(Path(study.page).as_uri())
        yield opened
