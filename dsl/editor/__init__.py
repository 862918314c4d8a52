"""What an editor asks about a file that may be half written. Places are offsets in code points."""
