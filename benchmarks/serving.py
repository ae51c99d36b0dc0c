"""The local server against calling the SavedModel in process, and under a load that never rests.

    python -m benchmarks.serving [--model DIR] [--rounds 200] [--requests 50000] [--clients 32]

Server and client share one machine; what counts are the ratios within one run. Three parts, whose
results are printed as Markdown for benchmarks/README.md:

1. Latency (p50, p99) and digits/s at batch 1, 8 and 64: in process, gRPC, REST, for floats
   (`generate`) and PNG (`generate_png`). The ways take turns, so that whatever else the machine
   does falls on all of them.
2. Digits/s and latency where many clients ask for one digit each, with and without batching, over
   gRPC and REST. Two servers take turns of a few seconds each.
3. A load of mixed requests from many clients while versions are pushed, labelled, rolled back and
   removed: every answer is compared with what the models give in process; the server's memory is
   read all the while, after a tenth of the requests that do not count.

`--model` takes an exported generator; without it a fresh one with the default's networks is made,
which costs the same time. `--tiny` takes the tests' generator for part 3: what is asked of
the server is the same, and a digit costs next to nothing.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import pathlib
import random
import shutil
import tempfile
import threading
import time
from typing import NamedTuple

import numpy as np

from serving import process, versions
from serving.client import GeneratorClient, ServerError

BATCHES = (1, 8, 64)
MODEL = "digits"
BATCHING = [
    "--enable_batching",
    f"--batching_parameters_file={pathlib.Path(process.__file__).with_name('config')}/batching.config",
]
_MEMORY_SECONDS = 2.0


# Part 1.


def latencies(server: process.Server, model_dir: pathlib.Path, rounds: int) -> list[dict]:
    """Times of one client: for each signature and batch size a row with seconds by way."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model_dir))
    # A client of 64 digits as JSON makes 50,000 lists; collecting them must not walk the objects
    # of this process' TensorFlow, which a client over REST does not have.
    gc.collect()
    gc.freeze()
    rows = []
    with (
        GeneratorClient(server.grpc_url, model=MODEL) as grpc_client,
        GeneratorClient(server.rest_url, model=MODEL) as rest_client,
    ):
        for signature, output in (("generate", "image"), ("generate_png", "image_bytes")):
            function = loaded.signatures[signature]

            def in_process(inputs, function=function, output=output):
                tensors = {name: tf.constant(value) for name, value in inputs.items()}
                return function(**tensors)[output].numpy()

            ways = {
                "in process": in_process,
                "gRPC": lambda inputs, s=signature: grpc_client.predict(inputs, s),
                "REST": lambda inputs, s=signature: rest_client.predict(inputs, s),
            }
            for batch in BATCHES:
                inputs = {
                    "seed": np.arange(batch, dtype=np.int64),
                    "label": np.arange(batch, dtype=np.int64) % 10,
                }
                times = {way: [] for way in ways}
                for turn in range(rounds + 3):
                    for way, call in ways.items():
                        begun = time.perf_counter()
                        call(inputs)
                        if turn >= 3:  # the first ones warm up
                            times[way].append(time.perf_counter() - begun)
                rows.append({"signature": signature, "batch": batch, "ways": times})
    return rows


def print_latencies(rows: list[dict]) -> None:
    """A table in Markdown."""
    print("| signature | batch | way | p50 ms | p99 ms | digits/s | p50 over in process |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        base = np.median(row["ways"]["in process"])
        for way, times in row["ways"].items():
            middle, high = np.percentile(times, [50, 99])
            print(
                f"| {row['signature']} | {row['batch']} | {way} | {middle * 1e3:.2f} "
                f"| {high * 1e3:.2f} | {row['batch'] / middle:,.0f} | {middle / base:.2f} |"
            )


# Part 2.


def clients_of_one(
    servers: dict[str, process.Server], clients: int, turns: int, seconds: float
) -> dict[tuple[str, str], list[tuple[list[float], float]]]:
    """Latencies of clients that ask for one digit after the other, each turn on every server.

    Returns:
      For each way (a key of `servers`) and protocol, turn by turn, the seconds of each request and
      the processor time of the server, seconds.
    """
    asks = {"gRPC": _ask_grpc, "REST": _ask_rest}
    found = {(way, protocol): [] for way in servers for protocol in asks}
    for turn in range(turns + 1):
        for (way, protocol), times in found.items():
            length = seconds if turn else 1.0  # the first turn warms up
            begun, end = processor_seconds(servers[way]), time.perf_counter() + length
            latencies = asyncio.run(asks[protocol](servers[way], clients, end))
            if turn:
                times.append((latencies, processor_seconds(servers[way]) - begun))
    return found


async def _ask_grpc(server: process.Server, clients: int, end: float) -> list[float]:
    # Bytes as they are on the wire: what the client costs is not to count.
    import grpc
    from tensorflow_serving.apis import predict_pb2

    from serving.server import tensors

    bodies = []
    for i in range(100):
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = MODEL, "generate"
        tensors.to_proto(np.array([i]), request.inputs["seed"])
        tensors.to_proto(np.array([i % 10]), request.inputs["label"])
        bodies.append(request.SerializeToString())
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        return await _take_turns(clients, end, lambda i: predict(bodies[i % len(bodies)]))


async def _ask_rest(server: process.Server, clients: int, end: float) -> list[float]:
    connections = [
        await asyncio.open_connection("127.0.0.1", server.rest_port) for _ in range(clients)
    ]

    async def ask(i: int) -> None:
        reader, writer = connections[i % clients]
        rows = [{"seed": i, "label": i % 10}]
        body = json.dumps({"signature_name": "generate", "instances": rows}).encode()
        head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode("latin-1"))
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)

    try:
        return await _take_turns(clients, end, ask)
    finally:
        for _, writer in connections:
            writer.close()


async def _take_turns(clients: int, end: float, ask) -> list[float]:
    """Seconds of each `ask(i)`; `i` modulo `clients` is the client that asks."""
    times: list[float] = []

    async def client(number: int) -> None:
        while (begun := time.perf_counter()) < end:
            await ask(number)
            times.append(time.perf_counter() - begun)
            number += clients

    await asyncio.gather(*map(client, range(clients)))
    return times


def print_clients_of_one(
    found: dict[tuple[str, str], list[tuple[list[float], float]]], clients: int, seconds: float
) -> None:
    """A table in Markdown; the ratio is the median of the ratios of each turn."""
    print(
        f"\n| one digit each, {clients} clients | protocol | digits/s | p50 ms | p99 ms | "
        "server's CPU ms for each | digits/s over no batching |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    )
    for (way, protocol), turns in found.items():
        ratios = [
            len(turn) / max(1, len(plain))
            for (turn, _), (plain, _) in zip(turns, found["no batching", protocol], strict=True)
        ]
        times = [t for turn, _ in turns for t in turn]
        cpu = 1e3 * sum(spent for _, spent in turns) / len(times)
        rate = np.median([len(turn) for turn, _ in turns]) / seconds
        middle, high = np.percentile(times, [50, 99])
        print(
            f"| {way} | {protocol} | {rate:,.0f} | {middle * 1e3:.1f} | {high * 1e3:.1f} "
            f"| {cpu:.2f} | {np.median(ratios):.2f} |"
        )


def graph_milliseconds(model: pathlib.Path) -> dict[int, float]:
    """Processor time of the graph alone for each digit of a batch, without any server, ms."""
    from serving.server.engine import Engine

    engine = Engine(model)
    signature = engine.signatures["generate"]
    fetches, spent = [signature.outputs["image"].name], {}
    for batch in (1, 8, 32, 64):
        rows = np.arange(batch, dtype=np.int64)
        feeds = {signature.inputs[name].name: rows % 10 for name in ("seed", "label")}
        times = 1 + 512 // batch
        for turn in range(times + 3):
            if turn == 3:  # the first ones warm up
                begun = time.process_time()
            engine.run(feeds, fetches)
        spent[batch] = 1e3 * (time.process_time() - begun) / times / batch
    return spent


# Part 3.


class LoadResult(NamedTuple):
    """What a load came to."""

    requests: int  # answers and failures together
    failed: list[str]
    wrong: list[str]  # answers that no served version gives
    changes: int  # versions pushed, labelled, rolled back and removed meanwhile
    seconds: float
    answered: dict[int, int]  # by the model that answered


class _Question(NamedTuple):
    signature: str
    inputs: dict[str, np.ndarray]


def questions(latent_dim: int) -> list[_Question]:
    """A fixed mix: floats, PNG and latents, in batches of 1 to 8."""
    chance = np.random.default_rng(0)
    found = []
    for i in range(24):
        batch = int(chance.integers(1, 9))
        label = chance.integers(0, 10, batch)
        if i % 3 == 2:
            latent = chance.normal(size=(batch, latent_dim)).astype(np.float32)
            found.append(_Question("serving_default", {"latent": latent, "label": label}))
        else:
            seed = chance.integers(0, 10**6, batch)
            name = ("generate", "generate_png")[i % 3]
            found.append(_Question(name, {"seed": seed, "label": label}))
    return found


def answers(model_dir: pathlib.Path, asked: list[_Question]) -> list[np.ndarray]:
    """What a SavedModel says to each question, in process."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model_dir))
    found = []
    for question in asked:
        tensors = {name: tf.constant(value) for name, value in question.inputs.items()}
        (value,) = loaded.signatures[question.signature](**tensors).values()
        found.append(value.numpy())
    return found


def run_load(
    grpc_url: str,
    rest_url: str,
    base_path: pathlib.Path,
    models: list[pathlib.Path],
    *,
    latent_dim: int,
    requests: int,
    clients: int,
    pause: float = 1.0,
    least_changes: int = 6,
    longest: float = 120.0,
    first_version: int = 1,
) -> LoadResult:
    """Asks from many threads while the versions under `base_path` change.

    Args:
      grpc_url, rest_url: clients take one or the other.
      base_path: what the server polls, with a version of one of `models` in it.
      models: different SavedModels to push, with latents of length `latent_dim`.
      requests: how many in all; more where by then the versions have not changed often enough or
        a model has not answered yet, as when the server takes longer to load one than it stays.
      clients: threads that ask.
      pause: seconds between two changes of the versions.
      least_changes: how often the versions are to change at least.
      longest: seconds after which no more is asked beyond `requests`.
      first_version: the ones that are pushed have higher numbers.
    """
    asked = questions(latent_dim)
    expected = [answers(model, asked) for model in models]
    lock, taken, changes = threading.Lock(), 0, 0
    failed: list[str] = []
    wrong: list[str] = []
    answered = dict.fromkeys(range(len(models)), 0)
    done = threading.Event()

    def ask(number: int) -> None:
        nonlocal taken
        chance = random.Random(number)
        url = grpc_url if number % 2 else rest_url
        with GeneratorClient(url, model=MODEL, retries=0, timeout=60) as client:
            while True:
                with lock:
                    seen_all = changes >= least_changes and all(answered.values())
                    overdue = time.perf_counter() - begun > longest
                    if taken >= requests and (seen_all or overdue):
                        return
                    taken += 1
                which = chance.randrange(len(asked))
                question = asked[which]
                try:
                    (value,) = client.predict(question.inputs, question.signature).values()
                except ServerError as error:
                    with lock:
                        failed.append(str(error))
                    continue
                givers = [i for i, known in enumerate(expected) if _same(value, known[which])]
                with lock:
                    if not givers:
                        wrong.append(f"{question.signature} {question.inputs}")
                    for giver in givers[:1]:
                        answered[giver] += 1

    def change() -> None:
        nonlocal changes
        version = first_version
        while not done.wait(pause):
            version += 1
            staged = base_path / f".tmp-{version}"
            shutil.copytree(models[version % len(models)], staged)
            os.rename(staged, base_path / str(version))
            changes += 1 + _label(grpc_url, base_path, version - 1)
            if done.wait(pause):
                return
            there = sorted(int(p.name) for p in base_path.iterdir() if p.name.isdigit())
            # Every third time the newest is taken back, else the old ones are cleared away.
            if version % 3 == 0 and len(there) > 1:
                for gone in versions.roll_back(base_path):
                    shutil.rmtree(gone.path)
                    changes += 1
                continue
            for old in there[:-2]:
                _remove(base_path / str(old))
                changes += 1

    begun = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    changer = threading.Thread(target=change)
    for thread in [*threads, changer]:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    done.set()
    changer.join()
    return LoadResult(taken, failed, wrong, changes, seconds, answered)


def _label(grpc_url: str, base_path: pathlib.Path, version: int) -> bool:
    """Points the label `stable` at a version by a reload; whether the server took it over."""
    import grpc
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    config = request.config.model_config_list.config.add(
        name=MODEL, base_path=os.path.abspath(base_path), model_platform="tensorflow"
    )
    config.version_labels["stable"] = version
    with grpc.insecure_channel(grpc_url.removeprefix("grpc://")) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            models.HandleReloadConfigRequest(request, timeout=60)
        except grpc.RpcError as error:
            # A label can name a version that is loaded, and this one may have left.
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION, error
            return False
    return True


def processor_seconds(server: process.Server) -> float:
    """Processor time that the server's process has taken so far, all threads."""
    fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Resident memory of a process, MiB."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _same(value: np.ndarray, known: np.ndarray) -> bool:
    if known.dtype == object:
        return value.tolist() == known.tolist()
    return value.shape == known.shape and np.allclose(value, known, atol=1e-5)


def _remove(version: pathlib.Path) -> None:
    # Out of sight first: a server must not find half of it.
    hidden = version.with_name(f".tmp-removed-{version.name}")
    os.rename(version, hidden)
    shutil.rmtree(hidden)


# The command.


def fresh_generator(folder: pathlib.Path, seed: int) -> pathlib.Path:
    """An untrained generator with the default's networks, exported as the Trainer exports."""
    import keras

    from tests.fixtures_generators import contract_of
    from trainer.export import export_generator
    from trainer.models import float32_generator
    from trainer.training_config import make_config

    config = make_config()
    keras.utils.set_random_seed(seed)
    export_generator(float32_generator(config, 10), contract_of(config.latent_dim, 10), folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, help="an exported generator")
    parser.add_argument("--rounds", type=int, default=200, help="for each latency; 0 for none")
    parser.add_argument("--turns", type=int, default=5, help="with and without batching; 0: none")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each such turn")
    parser.add_argument("--requests", type=int, default=50_000, help="of the load; 0 for none")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batching", action="store_true", help="for the load, too")
    parser.add_argument("--tiny", action="store_true", help="the tests' generator, for the load")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    from common.contract import GeneratorContract
    from tests.serving.server import saved_models

    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        if options.tiny:
            tiny = [saved_models.write_generator(root / f"tiny{i}", float(i)) for i in (1, 2)]
        if options.rounds or options.turns or not options.tiny:
            first = options.model or fresh_generator(root / "first", 1)
        if options.rounds:
            shutil.copytree(first, root / "latencies" / "1")
            with process.running(root / "latencies", model=MODEL) as server:
                print_latencies(latencies(server, first, options.rounds))
        if options.turns:
            _batching_part(first, root / "batching", options)
        if options.requests:
            models = tiny if options.tiny else [first, fresh_generator(root / "second", 2)]
            latent_dim = saved_models.LATENT
            if not options.tiny:
                latent_dim = GeneratorContract.load(first).latent_dim
                if GeneratorContract.load(models[1]).latent_dim != latent_dim:
                    parser.error("--model has other latents than the default's networks")
            base_path = root / "models"
            shutil.copytree(models[0], base_path / "1")
            arguments = BATCHING * options.batching
            with process.running(base_path, model=MODEL, arguments=arguments) as server:
                _load_part(server, base_path, models, latent_dim, options)


def _batching_part(model: pathlib.Path, folder: pathlib.Path, options) -> None:
    shutil.copytree(model, folder / "1")
    flags = {"no batching": [], "batching.config": BATCHING}
    with contextlib.ExitStack() as stack:
        servers = {
            way: stack.enter_context(process.running(folder, model=MODEL, arguments=arguments))
            for way, arguments in flags.items()
        }
        found = clients_of_one(servers, options.clients, options.turns, options.seconds)
    print_clients_of_one(found, options.clients, options.seconds)
    for batch, spent in graph_milliseconds(model).items():
        print(f"the graph alone, batches of {batch}: {spent:.2f} CPU ms for each digit")


def _load_part(server, base_path, models, latent_dim, options) -> None:
    common = {"latent_dim": latent_dim, "clients": options.clients}
    urls = server.grpc_url, server.rest_url
    # A tenth first: the memory of a server that has been used and has changed versions.
    run_load(*urls, base_path, models, requests=options.requests // 10, **common)
    memory, done = [memory_mib(server.pid)], threading.Event()

    def watch() -> None:
        while not done.wait(_MEMORY_SECONDS):
            memory.append(memory_mib(server.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = run_load(
            *urls, base_path, models, requests=options.requests, first_version=10**6, **common
        )
    finally:
        done.set()
        watcher.join()
    memory.append(memory_mib(server.pid))
    # Versions come and go, and with them tens of MiB: the middle of each quarter tells the trend.
    quarters = [np.median(part) for part in np.array_split(memory, 4) if len(part)]
    row = (
        f"{result.requests:,}",
        f"{options.clients}",
        f"{result.changes:,}",
        f"{len(result.failed)}",
        f"{len(result.wrong)}",
        ", ".join(f"{mib:.0f}" for mib in quarters),
        f"{result.requests / result.seconds:,.0f}",
    )
    print(
        "\n| requests | clients | versions changed | failed | wrong | memory, MiB, by quarters | "
        "requests/s |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        f"| {' | '.join(row)} |"
    )
    for line in [*result.failed, *result.wrong][:5]:
        print(f"  {line}")


if __name__ == "__main__":
    main()
