"""A tiny Wan 2.1 that speaks the language of the sprite world: the stock transformer class, through the stock loader.

``network``    the transformer, small
``pretrain``   how it was trained
``export``     into the file ``UNETLoader`` reads
``prove``      motions carried over, in a real ComfyUI
"""
