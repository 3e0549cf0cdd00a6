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

"""A mechanism driver that binds any port to any host, without an agent."""

from typing import Any

from neutron_lib.api.definitions import portbindings
from neutron_lib import constants
from neutron_lib.plugins.ml2 import api


class Driver(api.MechanismDriver):
    """Bind every port as Open vSwitch would, on the first segment offered."""

    def initialize(self) -> None:
        """Do nothing: there is no agent to talk to."""

    def bind_port(self, context: Any) -> None:
        """Bind the port and say that it is up."""
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID],
                portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )
            return

    def filter_hosts_with_segment_access(
        self,
        context: Any,
        segments: Any,
        candidate_hosts: Any,
        agent_getter: Any,
    ) -> set[str]:
        """Say that every host reaches every segment."""
        return set(candidate_hosts)
