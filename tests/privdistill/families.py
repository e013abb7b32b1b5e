"""Tiny random models of the major families, and a tunable model around one of them."""

from typing import Any

import torch

FAMILIES = ("llama", "gpt2", "gpt-neox", "qwen2", "opt", "opt-projected")
VOCABULARY = 97


def make_network(family: str, *, tied: bool = True) -> Any:
    """An untrained three-layer model in evaluation mode, always the same one.

    Args:
        family: one of `FAMILIES`.
        tied: whether the head and the embeddings of tokens are one matrix.
    """
    import transformers as tf

    grouped = {"num_attention_heads": 4, "num_key_value_heads": 2}
    common = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 3, "pad_token_id": 0}
    wide = {**common, "intermediate_size": 24, "max_position_embeddings": 64, "tie_word_embeddings": tied}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        match family:
            case "llama":
                model = tf.LlamaForCausalLM(tf.LlamaConfig(**wide, **grouped))
            case "qwen2":
                model = tf.Qwen2ForCausalLM(tf.Qwen2Config(**wide, **grouped))
            case "gpt-neox":
                model = tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**wide, num_attention_heads=4))
            case "gpt2":
                model = tf.GPT2LMHeadModel(
                    tf.GPT2Config(
                        vocab_size=VOCABULARY, n_embd=16, n_layer=3, n_head=4, n_positions=64, tie_word_embeddings=tied
                    )
                )
            case _:
                width = 8 if family == "opt-projected" else 16
                model = tf.OPTForCausalLM(
                    tf.OPTConfig(
                        **common,
                        ffn_dim=24,
                        num_attention_heads=4,
                        max_position_embeddings=64,
                        word_embed_proj_dim=width,
                        tie_word_embeddings=tied,
                    )
                )
    with torch.no_grad():  # fresh weights are tiny: make every layer count
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model.eval()


class ToyModel:
    """What a training mechanism needs of a language model: a network and token ids of prompts."""

    id = "toy"

    def __init__(self, network: Any) -> None:
        self.body = self.network = network

    def token_ids(self, text: str) -> list[int]:
        return [ord(letter) % VOCABULARY for letter in text]
