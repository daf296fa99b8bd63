"""Work on single images without sampling: verifying and attacking, shard by shard."""
