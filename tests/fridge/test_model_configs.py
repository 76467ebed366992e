"""The shipped configs: the models that their names promise, and the same ones that transformers builds."""

import pytest

from fridge.memory import model_configs

PUBLISHED = {
    "SmolLM2-135M": 134_515_008,
    "Qwen2.5-0.5B": 494_032_768,
    "Llama-2-7B": 6_738_415_616,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3-8B": 8_030_261_248,
    "Llama-2-13B": 13_015_864_320,
    "Mixtral-8x7B": 46_702_792_704,
    "Llama-2-70B": 68_976_648_192,
    "Llama-3-70B": 70_553_706_496,
}  # totals of the checkpoints on the hub


@pytest.mark.parametrize("name", model_configs.NAMES)
def test_transformers_builds_the_published_size(name: str) -> None:
    """Guards against a mistyped field, and against a transformers that reads it differently."""
    assert model_configs.counted_by_transformers(name)[0] == PUBLISHED[name]


def test_active_parameters_of_a_mixture() -> None:
    """Guards against experts that are counted under another name in the next transformers: 12.9 billion is Mistral
    AI's own figure. A dense model works with all it has."""
    assert round(model_configs.counted_by_transformers("Mixtral-8x7B")[1] / 1e9, 1) == 12.9
    total, active = model_configs.counted_by_transformers("SmolLM2-135M")
    assert total == active


def test_every_file_is_listed_in_order_of_size() -> None:
    """Guards against a config that no table shows."""
    assert {path.stem for path in model_configs.FOLDER.glob("*.json")} == set(model_configs.NAMES)
    assert [PUBLISHED[name] for name in model_configs.NAMES] == sorted(PUBLISHED.values())


def test_a_reader_may_change_what_it_got() -> None:
    """Guards against one dict that all readers share."""
    model_configs.read("Llama-3-8B")["hidden_size"] = 1
    assert model_configs.read("Llama-3-8B")["hidden_size"] == 4096


def test_fields_that_the_exercises_name() -> None:
    """Guards against a config that lacks what the exercise promises to the learner."""
    always = {
        *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
        *("num_key_value_heads", "tie_word_embeddings", "model_type", "max_position_embeddings"),
    }
    for name in model_configs.NAMES:
        assert always <= model_configs.read(name).keys()
    assert model_configs.read("Mistral-7B-v0.1")["sliding_window"] == 4096
    assert model_configs.read("Mixtral-8x7B")["sliding_window"] is None
    qwen = model_configs.read("Qwen2.5-7B")
    assert qwen["sliding_window"]
    assert qwen["use_sliding_window"] is False


def test_nothing_is_allocated() -> None:
    """Guards against 141 GB on a laptop."""
    assert {weight.device.type for weight in model_configs.on_meta("Llama-3-70B").parameters()} == {"meta"}


def test_a_model_that_is_not_there() -> None:
    """Guards against a file error that doesn't say what there is; and against names that lead out of the folder."""
    for name in ("Llama-4", "../units"):
        with pytest.raises(KeyError, match="Llama-3-8B"):
            model_configs.read(name)


def test_the_chosen_models_own_config(default_folder: object) -> None:
    """Guards against a loaded model and a config that don't belong together."""
    chosen = model_configs.chosen()
    for field in ("hidden_size", "num_hidden_layers", "vocab_size", "num_key_value_heads", "tie_word_embeddings"):
        assert chosen[field] == model_configs.read("SmolLM2-135M")[field]
