"""What a net sees: its maps, what an answer rests on, and pictures of what it looks for."""
