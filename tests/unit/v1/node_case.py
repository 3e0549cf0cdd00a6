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

"""Files of compute nodes, for the commands that read them."""

import json
import os
import pathlib

from osc_gpu.node import records
from tests.unit import base

COLUMNS = ['Severity', 'Check', 'Subject', 'Detail', 'Fix']
LSPCI = '04:00.0 0302: 10de:102d (rev a1)\n05:00.0 0302: 10de:102d (rev a1)\n'


class TestCase(base.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(os.environ['HOME'])

    def write(self, name, node):
        """Write what a node sent; return the path."""
        path = self.folder / name
        text = node if isinstance(node, str) else json.dumps(
            records.dump(node)
        )  # fmt: skip
        path.write_text(text)
        return str(path)
