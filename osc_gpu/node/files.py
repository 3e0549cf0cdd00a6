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

"""Files that a node, a controller or a deployment tool reads."""

import dataclasses
import re

#: Who reads a file.
COMPUTE = 'compute'
CONTROLLER = 'controller'
DEPLOYMENT = 'deployment'

#: Files that others write to as well: Nova's, DevStack's, GRUB's and
#: initramfs-tools' own, and those that Kayobe's users have anyway.
_ADDED = re.compile(
    r'(?:.*/)?(?:nova|nova-compute|local)\.conf|/etc/default/grub'
    r'|/etc/initramfs-tools/modules|(?:kolla|overcloud)\.yml'
)


@dataclasses.dataclass(frozen=True)
class File:
    """A file, or what is to be added to one.

    :param path: where it belongs; below the tool's own folder, relative to it
    :param reader: COMPUTE, CONTROLLER, or DEPLOYMENT for the machine that
        deploys the others
    :param hosts: of which nodes, if not of all alike
    """

    path: str
    text: str
    reader: str = COMPUTE
    hosts: tuple[str, ...] = ()

    @property
    def is_added(self) -> bool:
        """Whether it is what to add to a file, not the whole of one."""
        return _ADDED.fullmatch(self.path) is not None
