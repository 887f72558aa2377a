"""Do the gates catch planted disasters, and does blame find the guilty facts?"""
