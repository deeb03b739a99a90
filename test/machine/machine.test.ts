import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";

import { addressSpaceLeft, availableCores, containerLimits, memoryLimit } from "../../lib/machine.js";

const folder = mkdtempSync(path.join(os.tmpdir(), "supersimplenet-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A file system with these files. */
function rootWith(files: Record<string, string>): string {
  const root = mkdtempSync(path.join(folder, "root-"));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), `${text}\n`);
  }
  return root;
}

test("control groups, version 2: the tightest limit of the group and those around it", () => {
  const root = rootWith({
    "proc/self/cgroup": "0::/kubepods/pod7/web",
    "sys/fs/cgroup/kubepods/pod7/web/cpu.max": "max 100000",
    "sys/fs/cgroup/kubepods/pod7/web/memory.max": "2147483648",
    "sys/fs/cgroup/kubepods/pod7/cpu.max": "150000 100000",
    "sys/fs/cgroup/kubepods/pod7/memory.max": "max",
    "sys/fs/cgroup/kubepods/memory.max": "1073741824",
  });
  assert.deepEqual(containerLimits(root), { cores: 1.5, memoryBytes: 2 ** 30 });
});

test("a container sees its own group as the root", () => {
  const root = rootWith({
    "proc/self/cgroup": "0::/",
    "sys/fs/cgroup/cpu.max": "400000 100000",
    "sys/fs/cgroup/memory.max": "max",
  });
  assert.deepEqual(containerLimits(root), { cores: 4, memoryBytes: undefined });
});

test("control groups, version 1: the group's path may be the host's, then the mount's root counts", () => {
  const root = rootWith({
    "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912",
  });
  assert.deepEqual(containerLimits(root), { cores: 2, memoryBytes: 2 ** 29 });
});

test("no limit, no groups, and what nobody expects: no limits", () => {
  const none = { cores: undefined, memoryBytes: undefined };
  const unlimited = rootWith({
    "proc/self/cgroup": "4:memory:/\n3:cpu:/",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
  });
  assert.deepEqual(containerLimits(unlimited), none);
  assert.deepEqual(containerLimits(rootWith({})), none);
  const odd = { "proc/self/cgroup": "what\n0::relative\n:::", "sys/fs/cgroup/cpu.max": "" };
  assert.deepEqual(containerLimits(rootWith(odd)), none);
});

test("this machine: at least one core, and memory", () => {
  assert.ok(availableCores() >= 1 && availableCores() <= os.availableParallelism());
  assert.ok(memoryLimit() > 0 && memoryLimit() <= os.totalmem());
  assert.ok(addressSpaceLeft() > 0);
});
