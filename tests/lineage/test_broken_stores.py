"""Stores that can't be read: which case it is, who holds it, what to do."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

from lineage.store import StoreError, open_store

HOLD = (
    "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(60)"
)
# Ends in the middle of a transaction, when a part of it is in the file already.
KILLED = (
    "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    "c.execute('PRAGMA cache_size=1'); c.execute('BEGIN')\n"
    "c.execute('CREATE TABLE half (x)')\n"
    "c.executemany('INSERT INTO half VALUES (?)', [('x' * 3000,)] * 500)\n"
    "os.kill(os.getpid(), 9)"
)


@pytest.fixture
def file(stock_file, tmp_path) -> pathlib.Path:
    return shutil.copy(stock_file, tmp_path / "metadata.sqlite")


def test_a_store_that_another_program_writes_to_is_told_with_the_program(file):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="is locked by") as error:
            open_store(file)
        assert str(error.value).endswith("wait for it, or end it")
        assert str(process.pid) in str(error.value) or not os.path.exists("/proc/locks")
    finally:
        process.kill()
        process.wait()


def test_what_a_killed_program_left_undone_is_undone(file):
    subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    journal = file.with_name(file.name + "-journal")
    assert journal.stat().st_size
    assert len(open_store(file).runs()) == 3
    assert not journal.exists()
    with sqlite3.connect(file) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'half'")
        assert tables.fetchall() == []


def test_where_it_may_not_be_undone_that_is_said(file, monkeypatch):
    subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)

    def refuse(*args, **kwargs):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StoreError, match="a program was killed while it wrote to"):
        open_store(file)


def test_an_empty_file_is_told_as_that(tmp_path):
    path = tmp_path / "metadata.sqlite"
    path.touch()
    with pytest.raises(StoreError, match="is empty: it holds no run"):
        open_store(path)


def test_a_store_that_was_made_in_part_is_told_as_that(file):
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE Event")
    with pytest.raises(StoreError, match="is there in part only"):
        open_store(file)


@pytest.mark.parametrize("password", ["pa/ss", "pa/s@s", "secret/"])
def test_a_password_that_breaks_an_address_is_not_shown(password):
    with pytest.raises(StoreError, match="%2F") as error:
        open_store(f"mysql://user:{password}@host/db")
    assert "pa" not in str(error.value).replace("part", "").replace("password", "")
    assert "secret" not in str(error.value)
