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

"""User data that installs a driver, as parts for cloud-init.

Nothing is written into a script: what was asked for stands, quoted, in a
file of settings that the scripts read.
"""

from collections.abc import Mapping
import dataclasses
from importlib import resources
import re
import shlex
from typing import Any

from osc_gpu.guest import orders
from osc_gpu.guest import systems
from osc_gpu.i18n import _

#: Bytes of user data, before base64, that Nova takes at most
#: (nova/api/openstack/compute/schemas/servers.py: 65535 after it).
MOST = 65535 // 4 * 3

_PROGRAMS = '/usr/local/sbin/osc-gpu-'
_SMOKE = '/usr/local/share/osc-gpu/smoke.cu'
_LICENSE = '/etc/nvidia/ClientConfigToken/client_configuration_token.tok'

# cloud-init's own target: it comes after all that cloud-init does, and
# nothing of a boot waits for it.
_UNIT = f"""\
[Unit]
Description=GPU driver and report
After=cloud-final.service network-online.target nvidia-gridd.service
Wants=network-online.target

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart={_PROGRAMS}setup

[Install]
WantedBy=cloud-init.target
"""


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a multi-part message, of MIME type text/``subtype``."""

    subtype: str
    filename: str
    text: str = dataclasses.field(repr=False)


def parts(order: orders.Order) -> tuple[Part, ...]:
    """Return what makes a guest do what is asked of it."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes scripts as blocks, which people can read."""

    Dumper.add_representer(str, _block)
    config = {
        # Put before what the user's own parts have: their commands may end
        # the script that all commands are in.
        'merge_how': 'dict(recurse_list)+list(prepend)+str()',
        'write_files': _files(order),
        'runcmd': [
            ['systemctl', 'daemon-reload'],
            ['systemctl', 'enable', 'osc-gpu.service'],
            ['systemctl', 'start', '--no-block', 'osc-gpu.service'],
        ],
    }
    text = yaml.dump(
        config, Dumper=Dumper, sort_keys=False, allow_unicode=False
    )
    return (Part('cloud-config', 'osc-gpu.yaml', f'#cloud-config\n{text}'),)


def _block(dumper: Any, value: str) -> Any:
    style = '|' if '\n' in value else None
    return dumper.represent_scalar('tag:yaml.org,2002:str', value, style=style)


def _files(order: orders.Order) -> list[dict[str, str]]:
    found = [
        _file('/etc/osc-gpu/settings', _settings(order), '0600'),
        _file(f'{_PROGRAMS}setup', _setup(order), '0755'),
        _file(f'{_PROGRAMS}report', script('report.sh'), '0755'),
        _file('/etc/systemd/system/osc-gpu.service', _UNIT, '0644'),
    ]
    if order.workload:
        found += [
            _file(f'{_PROGRAMS}workload', script('workload.sh'), '0755'),
            _file(_SMOKE, script('smoke.cu'), '0644'),
        ]
    if order.token:
        found += [
            # The service that reads it does not run as root everywhere
            # (NVIDIA, Virtual GPU Client Licensing User Guide).
            _file(_LICENSE, order.token, '0744'),
            _file('/etc/nvidia/gridd.conf', _gridd(order), '0644'),
        ]
    return found


def _file(path: str, content: str, permissions: str) -> dict[str, str]:
    return {
        'path': path,
        'owner': 'root:root',
        'permissions': permissions,
        'content': content,
    }


def _gridd(order: orders.Order) -> str:
    number = orders.FEATURES[order.feature or 'vgpu']
    folder = _LICENSE.rpartition('/')[0]
    return f'FeatureType={number}\nClientConfigTokenPath={folder}\n'


def _settings(order: orders.Order) -> str:
    values: Mapping[str, str] = {
        'DRIVER': order.driver,
        'SYSTEM': str(order.system or ''),
        'NVIDIA_FOLDER': order.system.nvidia if order.system else '',
        'AMD_NAME': order.system.amd if order.system else '',
        'VERSION': order.version,
        'URL': order.url,
        'CUDA': order.cuda,
        'LICENSE': 'true' if order.token else 'false',
        'WORKLOAD': order.workload,
        'REPORT_URL': order.report_url,
    }
    return ''.join(
        f'{name}={shlex.quote(value)}\n' for name, value in values.items()
    )


def _setup(order: orders.Order) -> str:
    installs = drivers(order.system) if order.system else ''
    return f'{script("setup.sh")}{installs}\nmain\n'


def drivers(system: systems.System) -> str:
    """Return what installs drivers on a system: functions of a shell."""
    return script('drivers.sh') + script(f'{system.family}.sh')


def script(name: str) -> str:
    """Return one of the files in ``scripts``."""
    folder = resources.files('osc_gpu.guest') / 'scripts'
    return (folder / name).read_text()


def compose(order: orders.Order, users: bytes = b'') -> bytes:
    """Return user data for an order, and for what the user has besides.

    :param users: the user's own user data, of any form that cloud-init
        takes; it comes first and is not changed
    :raises ValueError: cloud-init would not do what is in either of them
    """
    users = _unpack(users)
    boundary = _boundary(users)
    found = [_users_part(users)] if users else []
    found += [_part(part) for part in parts(order)]
    # By hand: the library's own messages have other line ends than they had.
    between = f'\n--{boundary}\n'.encode()
    return b''.join(
        (
            f'Content-Type: multipart/mixed; boundary="{boundary}"\n'
            f'MIME-Version: 1.0\n'.encode(),
            *(between + part for part in found),
            f'\n--{boundary}--\n'.encode(),
        )
    )


def _part(part: Part) -> bytes:
    from email.mime import text as mime_text

    found = mime_text.MIMEText(part.text, part.subtype, 'us-ascii')
    found.add_header(
        'Content-Disposition', 'attachment', filename=part.filename
    )
    return found.as_bytes()


def fit(content: bytes) -> bytes:
    """Return user data that nobody may change, if Nova takes them.

    :raises ValueError: it is more than that; with both sizes, in bytes
    """
    if len(content) > MOST:
        raise ValueError(
            _("it has %(size)d bytes, and Nova takes at most %(most)d")
            % {'size': len(content), 'most': MOST}
        )
    return content


def pack(content: bytes) -> bytes:
    """Return user data as Nova takes it: as it is, or else compressed.

    :raises ValueError: it is more than Nova takes even so; with both sizes,
        in bytes
    """
    import gzip

    if len(content) <= MOST:
        return content
    # cloud-init unpacks it, so only what people can read is lost.
    packed = gzip.compress(content, mtime=0)
    if len(packed) > MOST:
        raise ValueError(
            _(
                "with what is added it has %(size)d bytes, compressed "
                "%(packed)d, and Nova takes at most %(most)d"
            )
            % {'size': len(content), 'packed': len(packed), 'most': MOST}
        )
    return packed


def _unpack(users: bytes) -> bytes:
    """Return user data that cloud-init would unpack, else the same."""
    import gzip
    import zlib

    try:
        return gzip.decompress(users)
    except (OSError, EOFError, zlib.error):
        return users


def _users_part(users: bytes) -> bytes:
    """Return a part that cloud-init reads as it would read these alone.

    It takes apart what has a MIME-Version in its first 4096 bytes, and looks
    at the beginning of what is text/plain for what it is
    (cloudinit/user_data.py).

    :raises ValueError: it would not do what is in them, or in ours
    """
    from email import encoders
    from email import message_from_string
    from email.mime import base

    if b'mime-version:' in users[:4096].lower():
        try:
            message = message_from_string(users.decode())
        except UnicodeDecodeError as exc:
            raise ValueError(
                _("the user data is a MIME message, and not UTF-8: byte %d")
                % (exc.start + 1)
            ) from None
        for inner in message.walk():
            _require_lists(inner.get_payload(decode=True))
        return users
    _require_lists(users)
    part = base.MIMEBase('text', 'plain')
    part.set_payload(users)
    encoders.encode_base64(part)
    part.add_header('Content-Disposition', 'attachment', filename='user-data')
    return part.as_bytes()


def _require_lists(content: object) -> None:
    """Refuse what cloud-init would not add ours to, without a word.

    :raises ValueError: with the key that has something else than a list
    """
    import yaml

    # Archives and patches begin with it too, and are no mappings.
    if not isinstance(content, bytes) or not re.match(
        rb'\s*#cloud-config', content
    ):
        return
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError):
        return
    for key in ('write_files', 'runcmd'):
        if isinstance(found, dict) and not isinstance(
            found.get(key, []), list
        ):
            raise ValueError(
                _(
                    "%s in the user data is not a list, which cloud-init "
                    "adds nothing to: make it one, or remove it"
                )
                % key
            )


def _boundary(users: bytes) -> str:
    """Return the same boundary for the same user data, which has it not."""
    import hashlib

    return f'osc-gpu-{hashlib.sha256(users).hexdigest()[:32]}'
