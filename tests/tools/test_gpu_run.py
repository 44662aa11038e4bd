"""tools/gpu-run with pretended tools: what it records and how it ends, where there is no GPU to run it on."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/gpu-run"
CARD = "Test Card, 1.2, 9.0, 1000, 300.00, 2000, 1500, 210, 405"

FAKES = {
    "nvidia-smi": f"""case $* in
*name*) echo '{CARD}' ;;
*) echo '1980, 2619, 600.50, 40'; echo '[N/A], 2619, 1, 1'; echo '1710, 2619, 700.00, 60'; exec sleep 60 ;;
esac""",
    # Configuring and building leave test programs; --build fails where FAKE_BUILD says so.
    "cmake": """echo "$0 $*" >>"$FAKE_LOG"
case $1 in
--build) [ -z "$FAKE_BUILD" ] || exit "$FAKE_BUILD"
  for p in test_ops test_walk test_conv bench/bench_conv bench/bench_explain bench/bench_train; do
    mkdir -p "$2/tests/bench"
    cat >"$2/tests/$p" <<'END'
#!/bin/bash
echo "$0 $* few=$RETRACE_TEST_FEW device=$RETRACE_TEST_DEVICE" >>"$FAKE_LOG"
[ "$(basename "$0")" != "$FAKE_BROKEN" ] || exit 5
case $* in *--json*) echo '{"rows": [1.5]}' >"${@: -1}" ;; esac
END
    chmod +x "$2/tests/$p"
  done ;;
*) mkdir -p build-gpu/tests; touch build-gpu/CTestTestfile.cmake ;;
esac""",
    "ctest": """out=${@: -1}
echo "<testsuite><testcase name='ops.cuda' status=\\"${FAKE_TESTS:-run}\\"/></testsuite>" >"$out"
[ "$FAKE_TESTS" != fail ]""",
    "compute-sanitizer": """[ "$1" != --version ] || { echo 'Version 2025.3.1'; exit; }
echo "$0 $2" >>"$FAKE_LOG"
[ "$2" != "$FAKE_SLOW" ] || exec sleep 60
"${@: -1}" && [ "$2" != "$FAKE_FINDS" ] || exit 97""",
    "nvcc": "echo 'Cuda compilation tools, release 13.0, V13.0.1'",
}


class GpuRun(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "repo/tools").mkdir(parents=True)
        shutil.copy(SCRIPT, self.folder / "repo/tools")
        (self.folder / "bin").mkdir()
        for name, body in FAKES.items():
            self.fake(name, body)
        self.log = self.folder / "log"

    def fake(self, name, body):
        path = self.folder / "bin" / name
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)

    def run_it(self, *arguments, **environment):
        environment = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "FAKE_LOG": str(self.log),
                       "GIT_CEILING_DIRECTORIES": str(self.folder), **environment}
        return subprocess.run([self.folder / "repo/tools/gpu-run", "--out", self.folder / "out", *arguments],
                              env=environment, capture_output=True, text=True, timeout=120)

    def results(self):
        return json.loads((self.folder / "out/results.json").read_text())

    def statuses(self):
        return {step["name"]: step["status"] for step in self.results()["steps"]}

    def test_everything_is_recorded(self):
        done = self.run_it("--commit", "abc")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        results = self.results()
        self.assertTrue(results["ok"] and results["finished"])
        self.assertEqual(results["commit"], "abc")
        self.assertEqual(results["cuda"], "13.0")
        self.assertEqual(results["compute_sanitizer"], "2025.3.1")
        self.assertEqual(results["gpu"]["name"], "Test Card")
        self.assertEqual(results["gpu"]["compute_cap"], "9.0")
        self.assertEqual(results["gpu"]["power_limit"], 300.0)
        self.assertEqual(results["tests"], {"count": 1, "passed": ["ops.cuda"], "failed": [], "skipped": []})
        self.assertEqual(results["during_benchmarks"]["clocks_sm"], {"min": 1710, "median": 1845, "max": 1980})
        self.assertEqual(list(results["benchmarks"]),
                         ["bench_conv_batch_1", "bench_conv_batch_32", "bench_explain_batch_1",
                          "bench_explain_batch_32", "bench_train_cifar_resnet20_w16", "bench_train_resnet18_w16",
                          "bench_train_resnet18_w64"])
        self.assertEqual(results["benchmarks"]["bench_conv_batch_1"], {"rows": [1.5]})
        sanitized = [f"{tool} {program}" for tool in ("memcheck", "racecheck", "synccheck", "initcheck")
                     for program in ("ops", "walk", "conv")]
        self.assertEqual(list(self.statuses()),
                         ["configure", "build", "test"] + sanitized +
                         ["bench_conv batch 1", "bench_explain batch 1", "bench_conv batch 32",
                          "bench_explain batch 32", "bench_train resnet18_w16", "bench_train resnet18_w64",
                          "bench_train cifar_resnet20_w16"])
        self.assertEqual(set(self.statuses().values()), {"ok"})
        self.assertEqual(sorted(p.name for p in (self.folder / "out").iterdir()),
                         ["bench.log", "build.log", "results.json", "sanitize.log", "test.log", "test.xml"])
        log = self.log.read_text()
        self.assertIn("-DCMAKE_CUDA_ARCHITECTURES=90a-real", log)
        self.assertIn("test_conv  few= device=cuda", log)

    def test_a_failure_stops_nothing_and_shows_in_the_end(self):
        for environment, broken in (({"FAKE_BROKEN": "bench_conv"}, ["bench_conv batch 1", "bench_conv batch 32"]),
                                    ({"FAKE_FINDS": "racecheck"}, ["racecheck ops", "racecheck walk",
                                                                   "racecheck conv"]),
                                    ({"FAKE_TESTS": "fail"}, ["test"]),
                                    ({"FAKE_TESTS": "notrun"}, ["tests that ran"])):
            done = self.run_it(**environment)
            self.assertEqual(done.returncode, 1, environment)
            self.assertEqual([n for n, s in self.statuses().items() if s != "ok"], broken)
            self.assertFalse(self.results()["ok"])
            self.assertTrue(self.results()["finished"])
        self.assertEqual(self.results()["tests"]["skipped"], ["ops.cuda"])

    def test_nothing_of_an_earlier_build_is_measured_after_a_failed_one(self):
        self.assertEqual(self.run_it().returncode, 0)
        done = self.run_it("--steps", "build,sanitize,bench", FAKE_BUILD="1")
        self.assertEqual(done.returncode, 1)
        self.assertEqual({n for n, s in self.statuses().items() if s == "ok"}, {"configure"})
        self.assertEqual(self.results()["benchmarks"], {})

    def test_a_limit_is_kept(self):
        done = self.run_it("--steps", "build,sanitize", "--limit", "22", FAKE_SLOW="memcheck")
        self.assertEqual(done.returncode, 1)
        statuses = self.statuses()
        self.assertEqual(statuses["memcheck ops"], "timed out")
        self.assertEqual(statuses["initcheck conv"], "not run")
        self.assertLess(sum(step["seconds"] for step in self.results()["steps"]), 25)

    def test_less_time_means_fewer_shapes_and_only_what_matters_most(self):
        done = self.run_it("--steps", "build,sanitize", "--limit", "50")
        self.assertEqual(done.returncode, 0, done.stdout)  # the other two tools are extra
        self.assertEqual(self.statuses()["racecheck conv"], "ok")
        self.assertEqual(self.statuses()["synccheck ops"], "not run")
        self.assertIn("few=1 device=cuda", self.log.read_text())

    def test_without_a_gpu_nothing_is_done_and_nothing_left(self):
        for body in ("echo 'NVIDIA-SMI has failed: no driver'; exit 9", "exit 0"):
            self.fake("nvidia-smi", body)
            done = self.run_it()
            self.assertEqual(done.returncode, 1)
            self.assertIn("gpu-run: no NVIDIA GPU here", done.stderr)
            self.assertFalse((self.folder / "out").exists())
        self.assertEqual(self.run_it("--steps", "build").returncode, 0)
        self.assertIsNone(self.results()["gpu"])
        self.assertNotIn("ARCHITECTURES", self.log.read_text())

    def test_wrong_usage(self):
        for arguments, why in ((["--steps", "build,fly"], "'fly'"), (["--steps", ""], "--steps"),
                               (["--limit", "soon"], "'soon'"), (["--limit", "0"], "'0'"), (["--out"], "--out"),
                               (["--deps", "/nowhere"], "/nowhere"), (["--else"], "--else"),
                               (["--steps", "test"], "add build")):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), arguments)
            self.assertIn(why, done.stderr)
        self.assertEqual(self.run_it("--help").returncode, 0)


if __name__ == "__main__":
    unittest.main()
