"""The messages between server and nodes: a typed request and a typed reply for each kind.

Only this folder knows the layout of a message. `request.content()` writes a request and `Request.read(content)` reads it;
replies work the same way. Reading checks types, shapes and ranges and raises `Malformed`, because the sender is not trusted.
"""
