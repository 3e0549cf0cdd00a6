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

"""Keystone, with everything the sandbox's topology says about identity."""

import base64
import os
import pathlib
from unittest import mock
import uuid

from services import common
from services import sqlite


def options(spec: common.Spec) -> common.Options:
    keys = spec.state / 'etc' / 'keystone'
    return {
        'DEFAULT': common.logging_options(spec),
        'database': {'connection': spec.database('keystone')},
        # To validate a token takes half a second of CPU time without.
        'cache': {'enabled': 'true', 'backend': 'dogpile.cache.memory_pickle'},
        # The passwords are random and live as long as the sandbox.
        'identity': {'password_hash_rounds': 4},
        'token': {'expiration': 7 * 24 * 3600},
        'fernet_tokens': {'key_repository': keys / 'fernet'},
        'fernet_receipts': {'key_repository': keys / 'fernet'},
        'credential': {'key_repository': keys / 'credential'},
    }


def _make_keys(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in ('0', '1'):
        path = folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))


def _bootstrap(spec: common.Spec) -> None:
    from keystone.cmd import bootstrap

    # The application has loaded the backends already, and locked them.
    with mock.patch.object(bootstrap.backends, 'load_backends'):
        task = bootstrap.Bootstrapper()
    task.admin_username = 'admin'
    task.admin_password = spec.secrets['admin']
    task.project_name = 'admin'
    task.admin_role_name = 'admin'
    task.service_name = 'keystone'
    task.region_id = spec.region
    task.public_url = task.internal_url = f'{spec.url("identity")}/v3'
    task.bootstrap()


def _furnish(spec: common.Spec) -> None:
    projects: dict[str, str] = {}
    _make_user(spec, projects, 'service', 'service', 'admin', 'service')
    for user in spec.topology['users']:
        _make_user(spec, projects, user['name'], user['project'], user['role'])
    for name, kind, url in (
        ('placement', 'placement', spec.url('placement')),
        ('nova', 'compute', f'{spec.url("compute")}/v2.1'),
        ('glance', 'image', spec.url('image')),
        ('neutron', 'network', spec.url('network')),
        ('cinder', 'block-storage', f'{spec.url("volume")}/v3'),
    ):
        _make_endpoints(spec, name, kind, url)
    if 'orchestration' in spec.ports:
        url = f'{spec.url("orchestration")}/v1/%(project_id)s'
        _make_endpoints(spec, 'heat', 'orchestration', url)
        _make_stack_domain(spec)


def _make_stack_domain(spec: common.Spec) -> None:
    """Make the domain where Heat keeps the users that stacks need."""
    from keystone.common import provider_api

    apis = provider_api.ProviderAPIs
    domain = {
        'id': uuid.uuid4().hex,
        'name': 'heat',
        'description': '',
        'enabled': True,
    }
    apis.resource_api.create_domain(domain['id'], domain)
    role = {'id': uuid.uuid4().hex, 'name': 'heat_stack_user'}
    apis.role_api.create_role(role['id'], role)
    user = {
        'name': 'heat_domain_admin',
        'domain_id': domain['id'],
        'password': spec.secrets['service'],
        'enabled': True,
    }
    user_id = apis.identity_api.create_user(user)['id']
    apis.assignment_api.create_grant(
        _role_ids()['admin'], user_id=user_id, domain_id=domain['id']
    )


def _role_ids() -> dict[str, str]:
    from keystone.common import provider_api

    roles = provider_api.ProviderAPIs.role_api.list_roles()
    return {role['name']: role['id'] for role in roles}


def _make_user(
    spec: common.Spec,
    projects: dict[str, str],
    name: str,
    project: str,
    *roles: str,
) -> None:
    """Make a user with roles in a project; make that too if it is new."""
    from keystone.common import provider_api

    apis = provider_api.ProviderAPIs
    ids = _role_ids()
    if project not in projects:
        projects[project] = uuid.uuid4().hex
        ref = {
            'id': projects[project],
            'name': project,
            'domain_id': 'default',
            'description': '',
            'enabled': True,
            'is_domain': False,
            'parent_id': 'default',
        }
        apis.resource_api.create_project(ref['id'], ref)
    user = {
        'name': name,
        'domain_id': 'default',
        'password': spec.secrets[name],
        'enabled': True,
    }
    user_id = apis.identity_api.create_user(user)['id']
    for role in roles:
        apis.assignment_api.create_grant(
            ids[role], user_id=user_id, project_id=projects[project]
        )


def _make_endpoints(spec: common.Spec, name: str, kind: str, url: str) -> None:
    from keystone.common import provider_api

    catalog = provider_api.ProviderAPIs.catalog_api
    service = {
        'id': uuid.uuid4().hex,
        'name': name,
        'type': kind,
        'enabled': True,
    }
    catalog.create_service(service['id'], service)
    for interface in ('public', 'internal', 'admin'):
        ref = {
            'id': uuid.uuid4().hex,
            'interface': interface,
            'region_id': spec.region,
            'service_id': service['id'],
            'url': url,
            'enabled': True,
        }
        catalog.create_endpoint(ref['id'], ref)


def _prepare_for_crowds() -> None:
    """Take two races out of Keystone's way; many log in at once at a start.

    Its enforcer is there before its rules are, so that the second of two
    first requests is refused. And each login writes down when it was, which
    SQLite refuses while another one does.
    """
    from keystone.common import provider_api
    from keystone.common.rbac_enforcer import enforcer

    enforcer.RBACEnforcer()._enforcer.load_rules()
    users = provider_api.ProviderAPIs.shadow_users_api.driver
    users.set_last_active_at = lambda user_id: None


def main() -> None:
    """Start Keystone; it answers once users and catalogue are there."""
    spec = common.load()
    spec.copy_databases('keystone')
    etc = spec.state / 'etc' / 'keystone'
    config = common.write_config(etc / 'keystone.conf', options(spec))
    _make_keys(etc / 'fernet')
    _make_keys(etc / 'credential')
    os.environ['OS_KEYSTONE_CONFIG_DIR'] = str(etc)
    os.environ['OS_KEYSTONE_CONFIG_FILES'] = str(config)
    sqlite.prepare(immediate=False)
    from keystone.wsgi import api

    marker = spec.state / 'db' / 'keystone.furnished'
    if not marker.exists():
        _bootstrap(spec)
        _furnish(spec)
        marker.touch()
    _prepare_for_crowds()
    common.serve(spec, 'identity', api.application)


if __name__ == '__main__':
    main()
