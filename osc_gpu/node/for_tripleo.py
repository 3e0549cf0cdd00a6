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

"""TripleO's environment files, and what a node does when it boots first.

Names of parameters are from tripleo-heat-templates, those of classes from
puppet-nova, each at the branches of the releases.
"""

from collections.abc import Sequence
from typing import Any

from osc_gpu.i18n import _
from osc_gpu.node import files as node_files
from osc_gpu.node import host_files
from osc_gpu.node import host_kernel
from osc_gpu.node import host_plan
from osc_gpu.node import nova_conf
from osc_gpu.node import nova_specs
from osc_gpu.node import releases
from osc_gpu.node import wanted
from osc_gpu.node import yaml_text

#: The last release of TripleO that was maintained (openstack-discuss, 15
#: February 2023).
LAST = releases.parse('wallaby')

_TRAIN = releases.parse('train')
_USSURI = releases.parse('ussuri')
_PIKE = releases.parse('pike')

_FIRST_BOOT = """\
#!/bin/bash
set -eux
case "$(hostname)" in
*compute*) ;;
*) exit 0 ;;
esac
sed -i.orig 's|^\\(GRUB_CMDLINE_LINUX="[^"]*\\)"|\\1 @ARGUMENTS@"|' \\
    /etc/default/grub
[ ! -e /etc/grub2.cfg ] || grub2-mkconfig -o /etc/grub2.cfg
[ ! -e /etc/grub2-efi.cfg ] || grub2-mkconfig -o /etc/grub2-efi.cfg
systemctl stop os-collect-config.service
/sbin/reboot
"""


def files(asked: wanted.Wanted) -> tuple[node_files.File, ...]:
    """Return environment files for ``openstack overcloud deploy``.

    :raises ValueError: the release has no TripleO, or nodes differ
    """
    if asked.release > LAST:
        raise ValueError(
            _(
                "there is no TripleO of %(release)s; %(last)s is the last "
                "one, so say --release %(last)s"
            )
            % {'release': asked.release, 'last': LAST}
        )
    computes = nova_conf.computes(asked)
    offers = [offer for offer in asked.offers if not offer.is_empty]
    plans = [
        host_plan.make(offer.node, asked.gpus, asked.divisions, offer.passed)
        for offer in offers
    ]
    arguments = {tuple(host_kernel.all_arguments(plan)) for plan in plans}
    if len(computes) > 1 or len(arguments) > 1:
        raise ValueError(
            _(
                "the nodes differ: TripleO configures nodes by role, so give "
                "those of one role at a time"
            )
        )
    words = list(arguments.pop())
    found = [
        (
            '20-compute-params.yaml',
            _compute(asked, offers[0], words),
            host_files.besides(plans),
        ),
        ('20-controller-params.yaml', _controller(asked), ''),
    ]
    texts = {
        f'environments/{name}': yaml_text.dump(
            {'parameter_defaults': content}, remark
        )
        for name, content, remark in found
        if content
    }
    if words and asked.release < _TRAIN:
        texts |= _first_boot(words)
    return tuple(
        node_files.File(path, text, node_files.DEPLOYMENT)
        for path, text in texts.items()
    )


def _compute(
    asked: wanted.Wanted, offer: wanted.Offer, arguments: Sequence[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    specs = nova_specs.device_specs(asked, offer)
    if specs:
        found['NovaPCIPassthrough'] = specs
    extra: dict[str, Any] = {}
    if asked.aliases:
        # A server may come here from another node.
        extra['nova::pci::aliases'] = _aliases(asked)
    types = asked.mdev_types
    if types and asked.release < _USSURI:
        extra['nova::compute::vgpu::enabled_vgpu_types'] = [
            found_type.id for found_type in types
        ]
    elif types:
        found['NovaVGPUTypesDeviceAddressesMapping'] = {
            found_type.id: list(nova_specs.addresses(offer, found_type.id))
            for found_type in types
        }
    if extra:
        found['ComputeExtraConfig'] = extra
    if arguments and asked.release >= _TRAIN:
        found['ComputeParameters'] = {'KernelArgs': ' '.join(arguments)}
    return found


def _controller(asked: wanted.Wanted) -> dict[str, Any]:
    if not asked.aliases:
        return {}
    release = asked.release
    # NovaSchedulerEnabledFilters came with Wallaby.
    word = 'Enabled' if release >= LAST else 'Default'
    # nova::pci came with Pike; Ocata got it later, without a note.
    key = 'nova::pci::aliases' if release >= _PIKE else 'nova::api::pci_alias'
    return {
        f'NovaScheduler{word}Filters': list(releases.filters(release)),
        'ControllerExtraConfig': {key: _aliases(asked)},
    }


def _aliases(asked: wanted.Wanted) -> list[dict[str, str]]:
    """Return the aliases as Puppet makes JSON of them.

    :raises ValueError: one's name would mean something else on the way
    """
    for alias in asked.aliases:
        # Hiera takes %{, and oslo.config $, for the name of something.
        if '$' in alias.name or '%{' in alias.name:
            raise ValueError(
                _("TripleO cannot write the alias %r: it has '$' or '%%{'")
                % alias.name
            )
    order = ('name', 'product_id', 'vendor_id', 'device_type')
    return [
        {key: spec[key] for key in order if key in spec}
        for spec in nova_specs.alias_specs(asked)
    ]


def _first_boot(arguments: Sequence[str]) -> dict[str, str]:
    """Return a template that sets kernel arguments, and who refers to it.

    From Train on TripleO does it by itself, for KernelArgs.
    """
    script = _FIRST_BOOT.replace('@ARGUMENTS@', ' '.join(arguments))
    template = {
        'heat_template_version': '2014-10-16',
        'resources': {
            'userdata': {
                'type': 'OS::Heat::MultipartMime',
                'properties': {
                    'parts': [
                        {'config': {'get_resource': 'compute_kernel_args'}}
                    ]
                },
            },
            'compute_kernel_args': {
                'type': 'OS::Heat::SoftwareConfig',
                'properties': {'config': script},
            },
        },
        'outputs': {'OS::stack_id': {'value': {'get_resource': 'userdata'}}},
    }
    registry = {'OS::TripleO::NodeUserData': '../firstboot/first-boot.yaml'}
    return {
        'environments/10-firstboot-environment.yaml': yaml_text.dump(
            {'resource_registry': registry}
        ),
        'firstboot/first-boot.yaml': yaml_text.dump(template),
    }
