"""An OS keyring in memory."""

import keyring.backend
import keyring.errors


class Ring(keyring.backend.KeyringBackend):
    """An OS keyring in memory, through the library's own interface."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("the secret of the backend")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.PasswordSetError("the secret of the backend")
        self.held[service, username] = password
