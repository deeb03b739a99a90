"""python -m unittest, in this folder: ten minutes on two cores. Needs no weights; teachers are random."""

import contextlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import distil
import draw
import export
import measure
import network
import painters

HERE = Path(__file__).parent
SMALL = ["--batch", "4", "--crop", "24", "--dream-steps", "2", "--ring", "16", "--threads", "1"]


def random_teacher(folder, architecture="resnet18"):
    torch.manual_seed(1)
    path = str(Path(folder) / f"{architecture}.safetensors")
    save_file(network.ResNet(architecture).state_dict(), path)
    return path


class Noise:
    """In place of the painters."""

    def __init__(self, *_):
        pass

    def refresh(self):
        return 1000

    def sample(self, batch):
        return torch.randint(256, (batch, 3, 32, 32), dtype=torch.uint8)


def ended(number):
    """Whether a process has ended, also where nobody has waited for it yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Networks(Folder):
    """Whole trainings in this process, of four steps, without painters."""

    def train(self, teacher, *arguments):
        out = self.folder / "run"
        command = ["distil.py", "--teacher", teacher, "--out", str(out), "--minutes", "0.01", *SMALL, *arguments]
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", command))
            stack.enter_context(mock.patch.object(distil, "Ring", Noise))
            stack.enter_context(mock.patch.object(distil, "DREAMS", 8))
            stack.enter_context(
                mock.patch.object(distil, "time", mock.Mock(monotonic=itertools.count(0, 0.15).__next__))
            )
            for stream in (contextlib.redirect_stdout, contextlib.redirect_stderr):
                stack.enter_context(stream(io.StringIO()))
            distil.main()
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        self.assertEqual(lines[-1]["step"], 4)
        for file in ("checkpoint.pt", "log.jsonl"):
            (out / file).unlink()
        return lines, str(out / "student.safetensors")

    def test_pairs(self):
        for architecture in network.ARCHITECTURES:
            teacher = random_teacher(self.folder, architecture)
            for student in network.ARCHITECTURES:
                with self.subTest(teacher=architecture, student=student):
                    names = ["--architecture", architecture, "--student", student]
                    lines, _ = self.train(teacher, *names, "--precision", "float32")
                    self.assertGreater(lines[-1]["layer3"], 0)
            Path(teacher).unlink()

    def test_options(self):
        teacher = random_teacher(self.folder)
        for arguments in (
            ["--width", "0.5"],
            ["--width", "0.5", "--student", "resnet50"],
            ["--dreams", "0"],
            ["--forced", "0"],
            ["--precision", "float32"],
            ["--dreams", "0.9"],
        ):
            with self.subTest(arguments=arguments):
                _, student = self.train(teacher, *arguments)
                with safe_open(student, "pt") as file:
                    about = file.metadata()
                width = float(about["width"])
                network.load(student, about["architecture"], width)
                self.train(teacher, "--init", student, "--width", str(width), "--student", about["architecture"])
        with self.assertRaisesRegex(SystemExit, "resnet34"):
            self.train(teacher, "--init", student, "--student", "resnet34")

    def test_outputs(self):
        """A student of the teacher's own weights is without error; measure.py says so and export.py loses little."""
        teacher, target = random_teacher(self.folder), str(self.folder / "exported.safetensors")
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
            cv2.imwrite(str(self.folder / f"{number}.png"), pixels)
        with contextlib.redirect_stdout(io.StringIO()):
            export.main(teacher, target)
            first = Path(target).read_bytes()
            export.main(teacher, target)
        self.assertEqual(Path(target).read_bytes(), first)
        for student, most in ((teacher, 0), (target, 1e-4)):
            with contextlib.redirect_stdout(io.StringIO()) as told:
                with mock.patch.object(sys, "argv", ["measure.py", teacher, student, f"noise={self.folder}"]):
                    measure.main()
            found = json.loads(told.getvalue())["noise"]
            self.assertEqual(found["images"], 3)
            self.assertLessEqual(found["errors"]["layer3"]["together"], most)
            self.assertAlmostEqual(found["layers"]["layer2"]["ratioOfVariances"]["50%"], 1, 2)

    def test_damaged_teachers(self):
        good = Path(random_teacher(self.folder))
        tensors = load_file(good)
        files = {
            "cut.safetensors": good.read_bytes()[:100_000],
            "cut.pth": b"PK\x03\x04 and no more",
            "empty.pth": b"",
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        less = {name: tensor for name, tensor in tensors.items() if name != "layer3.1.bn2.bias"}
        save_file(less, self.folder / "less.safetensors")
        save_file({**tensors, "conv1.weight": tensors["conv1.weight"] / 0}, self.folder / "infinite.safetensors")
        torch.save([1, 2], self.folder / "list.pth")
        names = [*files, "less.safetensors", "infinite.safetensors", "list.pth", "missing.safetensors", "missing.pth"]
        for name in names:
            with self.subTest(file=name):
                with self.assertRaises(SystemExit) as caught:
                    self.train(str(self.folder / name))
                self.assertIn(name, caught.exception.code)
                self.assertNotIn("\n", caught.exception.code)
        with self.assertRaisesRegex(SystemExit, "resnet50"):
            self.train(str(good), "--architecture", "resnet50")


class Drawing(unittest.TestCase):
    def test_seed_decides(self):
        one, same, other = (draw.Painter([0, seed], 64) for seed in (1, 1, 2))
        for _ in range(5):
            image = one.image()
            self.assertEqual((image.shape, image.dtype), ((64, 64, 3), np.uint8))
            self.assertTrue(np.array_equal(image, same.image()))
            self.assertFalse(np.array_equal(image, other.image()))


class Processes(Folder):
    """The program with its painters."""

    def start(self, *arguments, minutes=5):
        command = [sys.executable, "distil.py", "--teacher", random_teacher(self.folder), "--out", self.folder / "run"]
        command += ["--minutes", str(minutes), "--painters", "2", *SMALL, *arguments]
        pipe = subprocess.PIPE
        program = subprocess.Popen(
            command,
            cwd=HERE,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        return program

    def painters(self, program):
        """Their numbers, once the training runs."""
        program.stdout.readline()
        return [int(child) for child in Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()]

    def all_end(self, numbers):
        until = time.monotonic() + 20
        while not all(ended(number) for number in numbers) and time.monotonic() < until:
            time.sleep(0.1)
        self.assertEqual([number for number in numbers if not ended(number)], [])

    def test_ctrl_c(self):
        program = self.start()
        children = self.painters(program)
        self.assertEqual(len(children), 2)
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        self.assertEqual(program.wait(20), 130)
        self.all_end(children)
        self.assertNotIn("Traceback", program.stderr.read())

    def test_killed(self):
        program = self.start()
        children = self.painters(program)
        program.kill()
        self.all_end(children)

    def test_dead_painter(self):
        program = self.start()
        children = self.painters(program)
        os.kill(children[1], signal.SIGKILL)
        self.assertEqual(program.wait(60), 1)
        told = program.stderr.read()
        self.assertIn("painter 1 ended with exit code -9", told)
        self.assertNotIn("Traceback", told)
        self.all_end(children)

    def test_resumes(self):
        program = self.start(minutes=3)
        saved = self.folder / "run" / "checkpoint.pt"
        until = time.monotonic() + 150
        while not saved.exists() and time.monotonic() < until:
            time.sleep(0.5)
        program.kill()
        program.wait()
        state = torch.load(saved, weights_only=True)
        again = self.start(minutes=state["minutes"] + 0.1)
        self.assertEqual(again.wait(120), 0, again.stderr.read())
        lines = [json.loads(line) for line in (self.folder / "run" / "log.jsonl").read_text().splitlines()]
        resumed = [line["resumed"] for line in lines if "resumed" in line]
        self.assertEqual([line["step"] for line in resumed], [state["step"]])
        self.assertGreater(lines[-1]["step"], state["step"])
        self.assertFalse(str(self.folder) in json.dumps(lines))
        over = self.start(minutes=1)
        self.assertEqual(over.wait(60), 1)
        self.assertIn("--minutes", over.stderr.read())


class Painters(unittest.TestCase):
    def test_ring(self):
        """Every image of every painter arrives, the oldest ones leave, and other seeds draw other images."""
        ring = painters.Ring(4, 2, [5], torch.device("cpu"))
        try:
            until = time.monotonic() + 60
            while min(ring.taken) < 3 and time.monotonic() < until:
                ring.refresh()
                time.sleep(0.05)
        finally:
            for child in ring.children:
                child.terminate()
                child.join()
        self.assertGreaterEqual(min(ring.taken), 3)
        self.assertEqual(ring.sample(10).shape, (10, 3, painters.DRAWN, painters.DRAWN))
        self.assertEqual(len(torch.unique(ring.images.flatten(0, 1).float().mean((1, 2, 3)))), 4)
        with self.assertRaisesRegex(SystemExit, "painter 0"):
            ring.refresh()


if __name__ == "__main__":
    unittest.main()
