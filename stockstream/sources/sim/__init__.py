"""A made-up market as a source, with luck as bad as one likes: no venue, no account, no network."""
