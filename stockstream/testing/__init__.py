"""What tests of stockstream, and of code built on it, need: real servers on loopback and ways to wait for them."""
