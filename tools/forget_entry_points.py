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

"""Drop what stevedore remembers about installed entry points.

It tells a changed installation by the time stamps of the packages' metadata,
which it keeps with a resolution of about two minutes: commands renamed just
now would go on to be the old ones.  Everything dropped here is made again by
the next ``openstack`` command.
"""

import os
import pathlib
import shutil


def main() -> None:
    cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
    shutil.rmtree(
        pathlib.Path(cache) / 'python-entrypoints', ignore_errors=True
    )


if __name__ == '__main__':
    main()
