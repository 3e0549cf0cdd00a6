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

"""The client configuration token of NVIDIA's vGPU licences, checked.

A token is a JSON Web Token (RFC 7519), signed by the licence service. Copied
by hand it gathers characters that nobody sees, and the guest that gets it
says no more than that it is unlicensed.
"""

import base64
import binascii
import json
import re
import time
from typing import Any
import unicodedata

from osc_gpu.i18n import _

#: Bytes of a token file, at most; those of NVIDIA have 2 to 4 thousand.
MOST = 16384

#: Bytes of a signature by the algorithm that the header names (RFC 7518,
#: RFC 8037).
_SIZES = {
    'ES256': (64,),
    'ES384': (96,),
    'ES512': (132,),
    'HS256': (32,),
    'HS384': (48,),
    'HS512': (64,),
    'EdDSA': (64, 114),
}


def check(content: bytes, now: float | None = None) -> str:
    """Return the token in a file, without the line end after it.

    :param now: seconds since the epoch, if not the clock's
    :raises ValueError: with a sentence that says what is wrong; it never
        holds any of the token
    """
    if len(content) > MOST:
        raise ValueError(
            _("it has %(size)d bytes, and a token has at most %(most)d")
            % {'size': len(content), 'most': MOST}
        )
    try:
        text = content.decode('utf-8')
    except UnicodeDecodeError as exc:
        raise ValueError(_("byte %d is not text") % (exc.start + 1)) from None
    text = re.sub(r'[\r\n]+\Z', '', text)
    if not text:
        raise ValueError(_("it is empty"))
    _require_visible(text)
    _require_valid(_claims(text), time.time() if now is None else now)
    return text


def _require_visible(text: str) -> None:
    wrong = re.search('[^!-~]', text)
    if wrong:
        raise ValueError(
            _(
                "character %(position)d is %(name)s; copy the file itself, "
                "not its text"
            )
            % {'position': wrong.start() + 1, 'name': _name(wrong[0])}
        )


def _name(character: str) -> str:
    common = {
        ' ': _("a space"),
        '\t': _("a tab"),
        '\n': _("a line end"),
        '\r': _("a line end of Windows"),
    }
    number = f'U+{ord(character):04X}'
    name = unicodedata.name(character, '')
    return common.get(character, f'{number} {name}'.strip())


def _claims(text: str) -> dict[str, Any]:
    """Return what the token says; who signed it is for the service to see."""
    parts = [_decoded(part) for part in text.split('.')]
    if len(parts) != 3 or not all(parts):
        raise _no_token()
    header, claims = map(_object, parts[:2])
    if header is None or claims is None:
        raise _no_token()
    algorithm = str(header.get('alg'))
    if not _can_sign(algorithm, len(parts[2])):
        raise ValueError(
            _(
                "its signature is not one of %s: some of it is missing, or "
                "more than it was copied; copy the file itself, not its text"
            )
            % algorithm
        )
    return claims


def _no_token() -> ValueError:
    return ValueError(
        _("it is not a JSON Web Token, as the licence portal gives it")
    )


def _decoded(part: str) -> bytes:
    """Return what a part says; b'' if it is not base64url (RFC 7515)."""
    if not re.fullmatch('[A-Za-z0-9_-]+', part):
        return b''
    try:
        return base64.urlsafe_b64decode(part + '=' * (-len(part) % 4))
    except binascii.Error:
        return b''


def _can_sign(algorithm: str, size: int) -> bool:
    """Tell whether a signature of an algorithm can have so many bytes."""
    # As long as the key, which has 2048 bits at least; in practice it is a
    # multiple of 512.
    if re.fullmatch('[RP]S(256|384|512)', algorithm):
        return size >= 256 and size % 64 == 0
    return algorithm not in _SIZES or size in _SIZES[algorithm]


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _require_valid(claims: dict[str, Any], now: float) -> None:
    expires = _seconds(claims, 'exp')
    if expires is not None and expires <= now:
        raise ValueError(
            _("it expired on %s; get a new one from the licence portal")
            % _date(expires)
        )
    begins = _seconds(claims, 'nbf')
    # Clocks differ a little.
    if begins is not None and begins > now + 300:
        raise ValueError(_("it is not valid before %s") % _date(begins))


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    found = claims[name]
    # json reads NaN too, and time.gmtime does not take just any number.
    if type(found) in (int, float) and 0 <= found < 2**36:
        return float(found)
    raise ValueError(_("its %s is not a time") % name)


def _date(seconds: float) -> str:
    return time.strftime('%Y-%m-%d', time.gmtime(seconds))
