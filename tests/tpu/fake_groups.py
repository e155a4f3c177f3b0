"""The part of the cloud that is Compute Engine: templates, policies, managed instance groups.

A machine is a folder, and its startup script runs on this machine with that folder as home. Looking
at a group brings it one step on: its machines are created, booted, taken away and, if the group
repairs them, made anew under the same name with nothing on them.
"""

import math
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

WAITING, RUNNING = (",CREATING", "RUNNING,NONE")
# What follows a loss, look after look; without repair the last but one is the end
AFTER_A_LOSS = ("STOPPING,NONE", "TERMINATED,NONE", ",RECREATING")


@dataclass
class Group:
    """A managed instance group; `machines` are what list-instances tells of them."""

    template: str
    policy: str | None
    repairs: bool
    machines: dict[str, str] = field(default_factory=dict)


class Groups:
    """Answers `gcloud compute` where it is not about TPUs.

    repair     whether groups make machines anew that they were not told to leave
    capacity   whether there are machines to be had
    """

    def __init__(self, cloud, folder):
        self.cloud, self.folder = cloud, folder
        self.templates, self.policies, self.groups = {}, {}, {}
        self.repair, self.capacity = True, True
        self.losses, self._boots = 0, []

    def close(self):
        """Forget the machines, which are gone."""
        for process in self._boots:
            process.wait()

    def answer(self, words, flags):
        """Shell code for the caller."""
        kind = words[0] if words[0] != "instance-groups" else words.pop(0) and words[0]
        verb, name = words[1], words[-1]
        if {verb, f"{kind} {verb}"} & self.cloud.refused:
            return error(f"({kind} {verb}) refused")
        place = {"instance-templates": None, "resource-policies": "--region"}.get(kind, "--zone")
        if place and not flags.get(place) and verb != "list":
            return error(f"({kind} {verb}) where?")
        if kind == "ssh":
            return self._ssh(words[1], flags["--command"])
        things = {
            "instance-templates": self.templates,
            "resource-policies": self.policies,
            "managed": self.groups,
        }[kind]
        if verb == "list":
            name = flags["--filter"].removeprefix("name = ")
            return f"echo {name}" if name in things and flags["--zones"] else ""
        if verb == "create":
            if name in things:
                return error(f"The resource '{kind}/{name}' already exists")
            return getattr(self, f"_create_{kind.replace('-', '_')}")(name, flags)
        if name not in things:
            return error(f"The resource '{kind}/{name}' was not found")
        return getattr(self, f"_{verb.replace('-', '_')}")(kind, things, name)

    # ---- What gcloud does -----------------------------------------------------------------------

    def _create_instance_templates(self, name, flags):
        key, _, file = flags["--metadata-from-file"].partition("=")
        attribute, _, value = flags["--metadata"].partition("=")
        if key != "startup-script" or attribute != "alignreg":
            return error("no startup script")
        self.templates[name] = {"bucket": value, "script": Path(file).read_text(), **flags}
        return ""

    def _create_resource_policies(self, name, flags):
        sides = map(int, flags["--accelerator-topology"].split("x"))
        self.policies[name] = math.prod(sides)
        return ""

    def _create_managed(self, name, flags):
        template, size = flags["--template"], int(flags["--size"])
        policy = None
        if "--workload-policy" in flags:
            match = re.fullmatch(
                r"projects/\w+/regions/(.*)/resourcePolicies/(.*)", flags["--workload-policy"]
            )
            policy = match[2]
            if flags.get("--target-size-policy-mode") != "bulk":
                return error("MIGs with TPU accelerator topology require BULK mode")
            if self.policies.get(policy) != 4 * size:
                return error("the topology does not fit")
        if template not in self.templates:
            return error(f"The resource 'instanceTemplates/{template}' was not found")
        repairs = flags.get("--default-action-on-vm-failure") != "do-nothing"
        self.groups[name] = group = Group(template, policy, repairs)
        self.cloud.created.append(name)
        for number in range(size):
            group.machines[f"{name}-{len(self.cloud.created):02}{number:02}"] = WAITING
        return ""

    def _delete(self, kind, things, name):
        for group in self.groups.values():
            used = {"instance-templates": group.template, "resource-policies": group.policy}
            if used.get(kind) == name:
                return error(f"{name} is in use")
        if kind == "managed":
            for machine in things[name].machines:
                self.cloud.kill(self.folder / machine)
        del things[name]
        return ""

    def _list_instances(self, _, __, name):
        self.look(name)
        lines = [f"{machine},{state}" for machine, state in self.groups[name].machines.items()]
        return "".join(f"echo {line}\n" for line in lines)

    def _list_errors(self, _, __, name):
        return f"echo no capacity for {name}"

    def _ssh(self, machine, command):
        if self.machine(machine) != RUNNING:
            return error("the machine does not answer", 255)
        return ssh(self.folder / machine, command) + "exit ${failed:-0}"

    def metadata(self, machine, url):
        """What the metadata server tells a machine."""
        group = next(g for g in self.groups.values() if machine in g.machines)
        known = url == (
            "http://metadata.google.internal/computeMetadata/v1/instance/attributes/alignreg"
        )
        return f"echo {self.templates[group.template]['bucket']}" if known else "exit 22"

    # ---- What happens to machines ---------------------------------------------------------------

    def machine(self, name):
        """What is told of a machine."""
        return next((g.machines[name] for g in self.groups.values() if name in g.machines), None)

    def look(self, name):
        """Bring a group one step on."""
        group = self.groups[name]
        states = group.machines.values()
        preempt = self.cloud.preempt[self.losses : self.losses + 1]
        if all(state == RUNNING for state in states):
            if preempt and self.cloud.saved_step() >= preempt[0]:
                self.lose(name)
        elif self.capacity:
            for machine, state in group.machines.items():
                group.machines[machine] = self._next(group, machine, state)

    def lose(self, name):
        """Take the first machine of a group away."""
        self.losses += 1
        group = self.groups[name]
        machine = next(iter(group.machines))
        self.cloud.kill(self.folder / machine)
        group.machines[machine] = AFTER_A_LOSS[0]

    def _next(self, group, machine, state):
        if state == RUNNING or (state == AFTER_A_LOSS[1] and not (self.repair and group.repairs)):
            return state
        if state in AFTER_A_LOSS[:2]:
            return AFTER_A_LOSS[AFTER_A_LOSS.index(state) + 1]
        self.boot(machine, self.templates[group.template]["script"])
        return RUNNING

    def boot(self, machine, script):
        """Start a machine with nothing on it but its startup script."""
        home = self.folder / machine
        subprocess.run(["rm", "-rf", home], check=True)
        home.mkdir(parents=True)
        self._boots.append(
            subprocess.Popen(
                ["bash", "-c", script],
                cwd="/",
                env={**self.cloud.environment, "HOME": str(home), "STUB_VM": machine},
                start_new_session=True,
            )
        )


def error(text, code=1):
    """Shell code that fails with a message."""
    return f"echo {shlex.quote('ERROR: ' + text)} >&2; exit {code}"


def ssh(home, command):
    """Shell code that runs a command as on a VM."""
    place = f"cd {shlex.quote(str(home))} && HOME=$PWD STUB_VM={home.name}"
    return f"({place} bash -c {shlex.quote(command)}) || failed=$?\n"
