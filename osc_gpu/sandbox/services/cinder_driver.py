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


"""A volume driver whose volumes cost nothing: they exist in Cinder only.

Nova takes them for RBD volumes, the one kind that a compute host attaches
without touching anything of its own.
"""

import io
from typing import Any

from cinder.volume import driver

_GIB = 10**6


class Driver(driver.VolumeDriver):
    """Say yes to all that Cinder asks of a backend."""

    VERSION = '1.0'

    def check_for_setup_error(self) -> None:
        """Find nothing wrong."""

    def _update_volume_stats(self) -> None:
        self._stats = {
            'volume_backend_name': 'sandbox',
            'vendor_name': 'osc-gpu',
            'driver_version': self.VERSION,
            'storage_protocol': 'ceph',
            'total_capacity_gb': _GIB,
            'free_capacity_gb': _GIB,
            'reserved_percentage': 0,
            'multiattach': True,
        }

    def create_volume(self, volume: Any) -> None:
        """Make nothing."""

    def delete_volume(self, volume: Any) -> None:
        """Have nothing to delete."""

    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Let it be larger."""

    def create_snapshot(self, snapshot: Any) -> None:
        """Make nothing."""

    def delete_snapshot(self, snapshot: Any) -> None:
        """Have nothing to delete."""

    def create_volume_from_snapshot(self, volume: Any, snapshot: Any) -> None:
        """Make nothing."""

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> None:
        """Make nothing."""

    def clone_image(
        self,
        context: Any,
        volume: Any,
        image_location: Any,
        image_meta: Any,
        image_service: Any,
    ) -> tuple[dict[str, Any], bool]:
        """Say that the image is in the volume, so that nobody copies it."""
        return {}, True

    def copy_image_to_volume(
        self,
        context: Any,
        volume: Any,
        image_service: Any,
        image_id: str,
        disable_sparse: bool = False,
    ) -> None:
        """Say the same of an image that a volume gets anew."""

    def copy_volume_to_image(
        self, context: Any, volume: Any, image_service: Any, image_meta: Any
    ) -> None:
        """Upload a few bytes as what the volume holds."""
        content = io.BytesIO(b'sandbox')
        image_service.update(context, image_meta['id'], {}, content)

    def initialize_connection(
        self, volume: Any, connector: Any
    ) -> dict[str, Any]:
        """Return what Nova needs to attach it: the name of an RBD image."""
        return {
            'driver_volume_type': 'rbd',
            'data': {
                'name': f'volumes/{volume.name}',
                'hosts': ['127.0.0.1'],
                'ports': ['6789'],
                'cluster_name': 'ceph',
                'auth_enabled': False,
                'volume_id': volume.id,
                'access_mode': 'rw',
            },
        }

    def terminate_connection(
        self, volume: Any, connector: Any, **kwargs: Any
    ) -> None:
        """Have nothing to end."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """Have nothing to export."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """Have nothing to export."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """Have nothing to end."""
