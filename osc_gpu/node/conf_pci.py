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


"""What a nova.conf says of PCI devices, under whatever names."""

import dataclasses

from osc_gpu.i18n import _
from osc_gpu.node import conf_file
from osc_gpu.node import conf_json
from osc_gpu.node import conversion
from osc_gpu.node import conversion_notes
from osc_gpu.node import conversion_values


@dataclasses.dataclass(frozen=True)
class Conf:
    """The options of PCI devices.

    :param aliases: as Nova reads them
    :param specs: likewise
    :param reports: [pci] report_in_placement
    :param in_placement: [filter_scheduler] pci_in_placement
    """

    aliases: tuple[conf_json.Spec, ...]
    specs: tuple[conf_json.Spec, ...]
    reports: bool
    in_placement: bool


def read(text: str) -> Conf:
    """Read a nova.conf, or a local.conf.

    :raises ValueError: with a sentence that names the line
    """
    found: dict[conversion.Place, list[conf_json.Spec]] = {
        conversion_values.ALIAS: [],
        conversion_values.SPEC: [],
    }
    flags: dict[conversion.Place, str] = {}
    file = conf_file.parse(text)
    for block in file.blocks:
        for option in block.options:
            place = conversion.current(option)
            if place in found:
                try:
                    found[place] += conf_json.read(
                        option.value, file.is_local_conf
                    ).specs
                except ValueError as exc:
                    raise conversion.at(option, exc) from exc
            flags[place] = option.value
    return Conf(
        tuple(found[conversion_values.ALIAS]),
        tuple(found[conversion_values.SPEC]),
        conversion_notes.is_true(flags.get(conversion_notes.REPORT, '')),
        conversion_notes.is_true(flags.get(conversion_notes.IN_PLACEMENT, '')),
    )


def check(conf: Conf) -> None:
    """Refuse a file that says nothing of PCI devices.

    :raises ValueError: with a sentence that says what would be right
    """
    if not conf.aliases and not conf.specs:
        raise ValueError(_("it has neither [pci] alias nor [pci] device_spec"))
