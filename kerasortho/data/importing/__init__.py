"""From files as people have them to a manifest, and back: one module a format."""
