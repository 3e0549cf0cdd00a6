# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Where an image and a flavor do not go together for a server with a GPU."""

from osc_gpu.cloud import flavor_spec_checks
from osc_gpu.cloud import flavor_specs
from osc_gpu.cloud import flavors
from osc_gpu.cloud import guest_drivers
from osc_gpu.cloud import image_properties as props
from osc_gpu.cloud import image_subject
from osc_gpu.i18n import _

Found = image_subject.Found
shown = image_subject.shown
Subject = image_subject.Subject

_GIB = 1 << 30

#: Of these Nova takes either, but not two that differ, each with whose
#: refusal it is (nova/virt/hardware.py; nova/scheduler/utils.py).
_PAIRS = (
    ('hw:pci_numa_affinity_policy', props.NUMA_POLICY),
    ('os:secure_boot', props.SECURE_BOOT),
    ('hw:maxphysaddr_mode', props.MAXPHYSADDR_MODE),
)


def check(subject: Subject, flavor: flavors.Flavor) -> Found:
    """Check what Nova makes of an image with a flavor; never raises."""
    if not subject.request:
        yield subject.info(
            'no-gpu', _("flavor %s requests no GPU") % flavor.name
        )
    yield from _check_driver(subject)
    yield from _check_sizes(subject, flavor)
    yield from _check_conflicts(subject, flavor)
    yield from _check_hiding(subject, flavor)
    yield from _check_address_space(subject, flavor)


def _check_driver(subject: Subject) -> Found:
    driver = subject.driver
    if driver in ('', image_subject.NO_DRIVER):
        return
    is_amd = driver == image_subject.AMD

    def misfit(has_virtual_functions: bool) -> str:
        return guest_drivers.misfit(
            subject.request,
            driver,
            guest_drivers.AMD if is_amd else guest_drivers.NVIDIA,
            driver == image_subject.VGPU,
            has_virtual_functions,
        )

    # What an alias stands for is known to who creates the server.
    why = misfit(False)
    if why:
        check = subject.error if misfit(True) else subject.warning
        yield check('driver', why)


def _check_sizes(subject: Subject, flavor: flavors.Flavor) -> Found:
    """See nova/compute/api.py, _validate_flavor_image_nostatus."""
    image = subject.image
    if flavor.ram < image.min_ram:
        yield subject.error(
            'min-ram',
            _(
                "the image wants %(wanted)d MiB of RAM, flavor %(flavor)s has "
                "%(ram)d: Nova refuses every server"
            )
            % {
                'wanted': image.min_ram,
                'flavor': flavor.name,
                'ram': flavor.ram,
            },
        )
    content = max(image.size, image.virtual_size)
    wanted = max(image.min_disk, -(-content // _GIB))
    # 0 stands for as much as the image takes.
    if flavor.disk and flavor.disk < wanted:
        yield subject.error(
            'min-disk',
            _(
                "the image wants a disk of %(wanted)d GiB, flavor %(flavor)s "
                "has %(disk)d: Nova refuses every server that is not booted "
                "from a volume"
            )
            % {
                'wanted': wanted,
                'flavor': flavor.name,
                'disk': flavor.disk,
            },
        )


def _check_conflicts(subject: Subject, flavor: flavors.Flavor) -> Found:
    for spec, key in _PAIRS:
        asked, own = subject.spec(spec), subject.get(key)
        if asked and own and asked != own:
            yield subject.error(
                'conflict',
                _(
                    "%(key)s is %(own)s, and %(spec)s of flavor %(flavor)s is "
                    "%(asked)s: Nova makes no server where they differ"
                )
                % {
                    'key': key,
                    'own': shown(own),
                    'spec': spec,
                    'flavor': flavor.name,
                    'asked': shown(asked),
                },
                subject.unset(key),
            )


def _check_hiding(subject: Subject, flavor: flavors.Flavor) -> Found:
    """Nova hides it if either says so, whatever the other says."""
    own = subject.get(props.HIDE_HYPERVISOR)
    specs = [
        subject.spec(key)
        for key in flavor_specs.HIDE_HYPERVISOR_KEYS
        if key in flavor.extra_specs
    ]
    if own and specs and _hides([own]) != _hides(specs):
        yield subject.warning(
            'conflict',
            _(
                "%(key)s is %(own)s, and %(spec)s of flavor %(flavor)s says "
                "the opposite: the hypervisor is hidden"
            )
            % {
                'key': props.HIDE_HYPERVISOR,
                'own': shown(own),
                'spec': flavor_specs.HIDE_HYPERVISOR,
                'flavor': flavor.name,
            },
            subject.unset(props.HIDE_HYPERVISOR),
        )


def _hides(values: list[str]) -> bool:
    return any(map(flavor_specs.is_true, values))


def _check_address_space(subject: Subject, flavor: flavors.Flavor) -> Found:
    devices = sum(count for _name, count in subject.request.aliases)
    is_set = subject.spec('hw:maxphysaddr_mode') or subject.get(
        props.MAXPHYSADDR_MODE
    )
    if is_set or not flavor_spec_checks.exceeds_default_addresses(
        flavor, devices
    ):
        return
    yield subject.warning(
        'maxphysaddr',
        _(
            "%(ram)d MiB of RAM and %(devices)d GPUs of flavor %(flavor)s "
            "may be more than the 1 TiB that a guest addresses by default"
        )
        % {'ram': flavor.ram, 'devices': devices, 'flavor': flavor.name},
        subject.set_properties(hw_maxphysaddr_mode='passthrough'),
    )
