"""OpenStack Swift, over its own API.

`backend` is the store; `access` gets in, by auth v1 or Keystone v3; `manifests` says what a
large object is made of; `errors` translates what Swift answers.
"""
