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

"""What a cloud refuses, said in one line."""

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions as sdk_exceptions

#: Everything that the cloud, or the way to it, can answer with.
REFUSALS: tuple[type[Exception], ...] = (
    ksa_exceptions.ClientException,
    sdk_exceptions.SDKException,
)


def explain(exc: Exception) -> str:
    """Say in one line what was refused and what to do."""
    return str(exc)
