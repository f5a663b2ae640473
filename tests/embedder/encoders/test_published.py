"""Encoders whose published files are no network of timm as they are: each file's form, made up here, by hand.

Names, shapes and what is done are written out as the authors' code has them, apart from the loaders.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
huggingface_hub = pytest.importorskip("huggingface_hub")
import torch.nn.functional as F  # noqa: E402, N812
from huggingface_hub import constants  # noqa: E402
from making.encoders import GENBIO, HALF, HIBOU, IMAGENET, card_transform, cosine_with  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from embedder.encoders.fine import make_reader  # noqa: E402
from embedder.encoders.load import load_encoder  # noqa: E402
from embedder.encoders.spec import EncoderError  # noqa: E402
from embedder.encoders.table import ENCODERS  # noqa: E402

WIDTH, HEADS, DEPTH = 48, 3, 2


def fill(shapes, seed=0):
    """Numbers of a size at which every part counts: about one where something is multiplied, else small."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        last = key.removesuffix(".weight").rpartition(".")[-1]
        is_scale = key.endswith((".gamma", ".lambda1")) or last in ("ls1", "ls2")
        is_norm = key.endswith(".weight") and len(shape) == 1
        state[key] = 0.7 + 0.2 * noise if is_scale or is_norm else 0.15 * noise
    return state


def pair(name, *shape):
    """Shapes of a layer's weight and bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(w, name, x, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    deviation = (x - mean).pow(2).mean(dim=-1, keepdim=True).add(eps).sqrt()
    return (x - mean) / deviation * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w, name, x):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def attend(q, k, v, heads=HEADS):
    """Attention head by head, of (n, tokens, width)."""
    size = q.shape[-1] // heads
    met = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size), dim=-1)
        met.append(weights @ v[..., part])
    return torch.cat(met, dim=-1)


def squares(w, name, x):
    """Tokens of the squares of an image, rows first, as a product with the flattened kernel."""
    kernel = w[f"{name}.weight"]
    edge = kernel.shape[-1]
    tokens = F.unfold(x, edge, stride=edge).transpose(1, 2) @ kernel.flatten(1).T
    return tokens + w[f"{name}.bias"]


def gate(x):
    first, second = x.chunk(2, dim=-1)
    return first * torch.sigmoid(first) * second


# DINOv2 with registers, in the spelling of transformers (Hibou's hub) and of its own code.


def dinov2_shapes(form, side=16, inner=128):
    """A file of DINOv2 with four registers and gated units."""
    tokens, blocks = ("embeddings.", "encoder.layer") if form == "transformers" else ("", "blocks")
    positions = "position_embeddings" if form == "transformers" else "pos_embed"
    shapes = {
        f"{tokens}cls_token": (1, 1, WIDTH),
        f"{tokens}mask_token": (1, WIDTH),
        f"{tokens}register_tokens": (1, 4, WIDTH),
        f"{tokens}{positions}": (1, side**2 + 1, WIDTH),
        **pair(STEM[form], WIDTH, 3, 14, 14),
    }
    for block in range(DEPTH):
        at = f"{blocks}.{block}."
        shapes |= pair(f"{at}norm1", WIDTH) | pair(f"{at}norm2", WIDTH)
        if form == "transformers":
            for part in ("query", "key", "value"):
                shapes |= pair(f"{at}attention.attention.{part}", WIDTH, WIDTH)
            shapes |= pair(f"{at}attention.output.dense", WIDTH, WIDTH)
            shapes |= {f"{at}layer_scale1.lambda1": (WIDTH,), f"{at}layer_scale2.lambda1": (WIDTH,)}
            shapes |= pair(f"{at}mlp.weights_in", 2 * inner, WIDTH)
            shapes |= pair(f"{at}mlp.weights_out", WIDTH, inner)
        else:
            shapes |= pair(f"{at}attn.qkv", 3 * WIDTH, WIDTH) | pair(f"{at}attn.proj", WIDTH, WIDTH)
            shapes |= {f"{at}ls1.gamma": (WIDTH,), f"{at}ls2.gamma": (WIDTH,)}
            shapes |= pair(f"{at}mlp.w12", 2 * inner, WIDTH) | pair(f"{at}mlp.w3", WIDTH, inner)
    return shapes | pair("layernorm" if form == "transformers" else "norm", WIDTH)


STEM = {"transformers": "embeddings.patch_embeddings.projection", "dinov2": "patch_embed.proj"}


def dinov2_by_hand(w, x, form):
    """Positions on class and patches, then the registers between them, then the blocks."""
    tokens = "embeddings." if form == "transformers" else ""
    positions = w[f"{tokens}{'position_embeddings' if form == 'transformers' else 'pos_embed'}"]
    count = len(x)
    x = squares(w, STEM[form], x)
    x = torch.cat([w[f"{tokens}cls_token"].expand(count, -1, -1), x], dim=1) + positions
    x = torch.cat([x[:, :1], w[f"{tokens}register_tokens"].expand(count, -1, -1), x[:, 1:]], dim=1)
    for block in range(DEPTH):
        at = f"{'encoder.layer' if form == 'transformers' else 'blocks'}.{block}."
        y = norm(w, f"{at}norm1", x)
        if form == "transformers":
            q, k, v = (linear(w, f"{at}attention.attention.{part}", y) for part in ("query", "key", "value"))
            y = linear(w, f"{at}attention.output.dense", attend(q, k, v)) * w[f"{at}layer_scale1.lambda1"]
            x = x + y
            y = gate(linear(w, f"{at}mlp.weights_in", norm(w, f"{at}norm2", x)))
            x = x + linear(w, f"{at}mlp.weights_out", y) * w[f"{at}layer_scale2.lambda1"]
        else:
            q, k, v = linear(w, f"{at}attn.qkv", y).split(WIDTH, dim=-1)
            x = x + linear(w, f"{at}attn.proj", attend(q, k, v)) * w[f"{at}ls1.gamma"]
            y = gate(linear(w, f"{at}mlp.w12", norm(w, f"{at}norm2", x)))
            x = x + linear(w, f"{at}mlp.w3", y) * w[f"{at}ls2.gamma"]
    x = norm(w, "layernorm" if form == "transformers" else "norm", x)
    return x[:, 0], x


# A plain vision transformer, under a prefix, with layer scales under a name of their own.


def plain_shapes(prefix, scale, side):
    shapes = {
        f"{prefix}cls_token": (1, 1, WIDTH),
        f"{prefix}pos_embed": (1, side**2 + 1, WIDTH),
        **pair(f"{prefix}patch_embed.proj", WIDTH, 3, 16, 16),
        **pair(f"{prefix}norm", WIDTH),
    }
    for block in range(DEPTH):
        at = f"{prefix}blocks.{block}."
        shapes |= pair(f"{at}norm1", WIDTH) | pair(f"{at}norm2", WIDTH)
        shapes |= pair(f"{at}attn.qkv", 3 * WIDTH, WIDTH) | pair(f"{at}attn.proj", WIDTH, WIDTH)
        shapes |= pair(f"{at}mlp.fc1", 4 * WIDTH, WIDTH) | pair(f"{at}mlp.fc2", WIDTH, 4 * WIDTH)
        shapes |= {f"{at}ls1.{scale}": (WIDTH,), f"{at}ls2.{scale}": (WIDTH,)}
    return shapes


def plain_by_hand(w, x, prefix, scale, positions):
    count = len(x)
    x = squares(w, f"{prefix}patch_embed.proj", x)
    x = torch.cat([w[f"{prefix}cls_token"].expand(count, -1, -1), x], dim=1) + positions
    for block in range(DEPTH):
        at = f"{prefix}blocks.{block}."
        q, k, v = linear(w, f"{at}attn.qkv", norm(w, f"{at}norm1", x)).split(WIDTH, dim=-1)
        x = x + linear(w, f"{at}attn.proj", attend(q, k, v)) * w[f"{at}ls1.{scale}"]
        y = F.gelu(linear(w, f"{at}mlp.fc1", norm(w, f"{at}norm2", x)))
        x = x + linear(w, f"{at}mlp.fc2", y) * w[f"{at}ls2.{scale}"]
    return norm(w, f"{prefix}norm", x)


def keep_shapes(scale):
    words = {"text.embeddings.word_embeddings.weight": (5, 4), "logit_scale": (1,)}
    head = pair("visual_head.0", 32, WIDTH) | pair("visual_head.2", 32, 32)
    return plain_shapes("visual.", scale, 14) | head | words


def keep_by_hand(w, x, scale):
    tokens = plain_by_hand(w, x, "visual.", scale, w["visual.pos_embed"])
    y = linear(w, "visual_head.2", F.gelu(linear(w, "visual_head.0", tokens[:, 0])))
    return y / y.pow(2).sum(dim=-1, keepdim=True).sqrt(), tokens


# CONCH v1.5: a trunk whose positions are resampled, and a learnt question with eight heads.


def conch_shapes(side):
    pool = "attn_pool_contrast."
    shapes = plain_shapes("trunk.", "gamma", side)
    shapes |= {f"{pool}query": (1, 32), f"{pool}to_q.weight": (32, 32), f"{pool}to_out.weight": (32, 32)}
    shapes |= pair(f"{pool}ln_q", 32) | pair(f"{pool}ln_k", WIDTH) | pair("ln_contrast", 32)
    return shapes | {f"{pool}to_kv.weight": (64, WIDTH)}


def cubic_rows(count, needed, factor):
    """The matrix from `count` places to `needed`, by the cubic kernel of a = -0.75; the outermost repeat."""
    matrix = torch.zeros(needed, count, dtype=torch.float64)
    for row in range(needed):
        centre = (row + 0.5) / factor - 0.5
        first = math.floor(centre)
        for place in range(first - 1, first + 3):
            t = abs(centre - place)
            near, far = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            matrix[row, min(max(place, 0), count - 1)] += near if t <= 1 else far
    return matrix.float()


def conch_positions(given):
    side = math.isqrt(given.shape[1] - 1)
    grid = given[0, 1:].reshape(side, side, -1)
    if side == 28:  # to half of it: the mean of each two by two
        grid = (grid[::2, ::2] + grid[1::2, ::2] + grid[::2, 1::2] + grid[1::2, 1::2]) / 4
    rows = cubic_rows(14, 28, 28.1 / 14)
    grid = torch.einsum("ri,sj,ijd->rsd", rows, rows, grid)
    return torch.cat([given[:, :1], grid.reshape(1, 784, -1)], dim=1)


def conch_by_hand(w, x):
    tokens = plain_by_hand(w, x, "trunk.", "gamma", conch_positions(w["trunk.pos_embed"]))
    pool = "attn_pool_contrast."
    q = norm(w, f"{pool}ln_q", w[f"{pool}query"], 1e-5) @ w[f"{pool}to_q.weight"].T
    k, v = (norm(w, f"{pool}ln_k", tokens, 1e-5) @ w[f"{pool}to_kv.weight"].T).split(32, dim=-1)
    met = attend(q.expand(len(x), 1, -1), k, v, heads=8) @ w[f"{pool}to_out.weight"].T
    return norm(w, "ln_contrast", met[:, 0], 1e-5), tokens


# MUSK: a BEiT-3, with a branch for images and one for words, and norms within attention and layers.


def musk_shapes():
    layers = "beit3.encoder.layers."
    shapes = {
        "beit3.text_embed.weight": (7, WIDTH),
        "beit3.vision_embed.mask_token": (1, 1, WIDTH),
        "beit3.vision_embed.cls_token": (1, 1, WIDTH),
        **pair("beit3.vision_embed.proj", WIDTH, 3, 16, 16),
        "beit3.encoder.embed_positions.A.weight": (24 * 24 + 3, WIDTH),
        "beit3.encoder.embed_positions.B.weight": (9, WIDTH),
        "language_head.weight": (WIDTH, WIDTH),
        "vision_head.weight": (WIDTH, WIDTH),
        "logit_scale": (1,),
    }
    for branch in "AB":
        shapes |= pair(f"beit3.encoder.layer_norm.{branch}", WIDTH)
        for block in range(DEPTH):
            at = f"{layers}{block}."
            for part in ("q", "k", "v", "out"):
                shapes |= pair(f"{at}self_attn.{part}_proj.{branch}", WIDTH, WIDTH)
            shapes |= pair(f"{at}self_attn.inner_attn_ln.{branch}", WIDTH)
            shapes |= pair(f"{at}self_attn_layer_norm.{branch}", WIDTH)
            shapes |= pair(f"{at}final_layer_norm.{branch}", WIDTH)
            shapes |= pair(f"{at}ffn.{branch}.fc1", 4 * WIDTH, WIDTH)
            shapes |= pair(f"{at}ffn.{branch}.ffn_layernorm", 4 * WIDTH)
            shapes |= pair(f"{at}ffn.{branch}.fc2", WIDTH, 4 * WIDTH)
    return shapes


def musk_by_hand(w, x):
    eps = 1e-5
    count = len(x)
    x = squares(w, "beit3.vision_embed.proj", x)
    x = torch.cat([w["beit3.vision_embed.cls_token"].expand(count, -1, -1), x], dim=1)
    # Positions are counted from two.
    x = x + w["beit3.encoder.embed_positions.A.weight"][torch.arange(x.shape[1]) + 2]
    for block in range(DEPTH):
        at = f"beit3.encoder.layers.{block}."
        y = norm(w, f"{at}self_attn_layer_norm.A", x, eps)
        y = attend(*(linear(w, f"{at}self_attn.{part}_proj.A", y) for part in "qkv"))
        x = x + linear(w, f"{at}self_attn.out_proj.A", norm(w, f"{at}self_attn.inner_attn_ln.A", y, eps))
        y = F.gelu(linear(w, f"{at}ffn.A.fc1", norm(w, f"{at}final_layer_norm.A", x, eps)))
        x = x + linear(w, f"{at}ffn.A.fc2", norm(w, f"{at}ffn.A.ffn_layernorm", y, eps))
    x = norm(w, "beit3.encoder.layer_norm.A", x, eps)
    return x[:, 0], x


# GenBio-PathFM: the same network for each colour, turning questions and keys in bfloat16.


def genbio_shapes():
    shapes = {
        "cls_token": (1, 1, WIDTH),
        "storage_tokens": (1, 4, WIDTH),
        "rope_embed.periods": (WIDTH // HEADS // 4,),
        **pair("patch_embed.proj", WIDTH, 1, 16, 16),
        **pair("norm", WIDTH),
    }
    for block in range(DEPTH):
        at = f"blocks.{block}."
        shapes |= pair(f"{at}norm1", WIDTH) | pair(f"{at}norm2", WIDTH) | pair(f"{at}attn.proj", WIDTH, WIDTH)
        shapes |= {f"{at}attn.qkv.weight": (3 * WIDTH, WIDTH)}
        # 2/3 of 4 * 48 is 128, which is a multiple of 64 already.
        shapes |= pair(f"{at}mlp.w1", 128, WIDTH) | pair(f"{at}mlp.w2", 128, WIDTH)
        shapes |= pair(f"{at}mlp.w3", WIDTH, 128) | {f"{at}ls1.gamma": (WIDTH,), f"{at}ls2.gamma": (WIDTH,)}
    return shapes


def genbio_state():
    state = fill(genbio_shapes())
    count = WIDTH // HEADS // 4
    periods = 100.0 ** (2 * torch.arange(count, dtype=torch.bfloat16) / (2 * count))
    return state | {"rope_embed.periods": periods}


def turn(x, periods):
    """Turn (n, tokens, width) place by place and head by head; all of it is rounded to bfloat16."""
    x = x.bfloat16()
    size = WIDTH // HEADS
    half = size // 2
    along = (torch.arange(14).bfloat16() + 0.5) / 14 * 2 - 1
    turned = x.clone()
    for place in range(196):
        both = [along[place // 14], along[place % 14]]
        angles = torch.cat([2 * math.pi * each / periods for each in both])
        sine, cosine = angles.sin(), angles.cos()
        for head in range(HEADS):
            low = x[:, 5 + place, head * size : head * size + half]
            high = x[:, 5 + place, head * size + half : (head + 1) * size]
            turned[:, 5 + place, head * size : head * size + half] = low * cosine + -high * sine
            turned[:, 5 + place, head * size + half : (head + 1) * size] = high * cosine + low * sine
    return turned.float()


def genbio_by_hand(w, x):
    seen = []
    for colour in range(3):
        y = squares(w, "patch_embed.proj", x[:, colour : colour + 1])
        own = (w[key].expand(len(x), -1, -1) for key in ("cls_token", "storage_tokens"))
        y = torch.cat([*own, y], dim=1)
        for block in range(DEPTH):
            at = f"blocks.{block}."
            q, k, v = linear(w, f"{at}attn.qkv", norm(w, f"{at}norm1", y)).split(WIDTH, dim=-1)
            met = attend(turn(q, w["rope_embed.periods"]), turn(k, w["rope_embed.periods"]), v)
            y = y + linear(w, f"{at}attn.proj", met) * w[f"{at}ls1.gamma"]
            z = norm(w, f"{at}norm2", y)
            z = F.silu(linear(w, f"{at}mlp.w1", z)) * linear(w, f"{at}mlp.w2", z)
            y = y + linear(w, f"{at}mlp.w3", z) * w[f"{at}ls2.gamma"]
        seen.append(norm(w, "norm", y))
    tokens = torch.cat(seen, dim=-1)
    return tokens[:, 0], tokens


# Of each form: the encoder, what it takes the width of, the file's name on the hub, its weights, the pass.
FORMS = {
    "hibou-b": ("hibou-b", 48, "model.safetensors", lambda: fill(dinov2_shapes("transformers")), HIBOU),
    "hibou-l": ("hibou-l", 48, "model.safetensors", lambda: fill(dinov2_shapes("transformers")), HIBOU),
    "hibou-b of its authors' code": ("hibou-b", 48, "", lambda: fill(dinov2_shapes("dinov2")), HIBOU),
    "openmidnight": (
        "openmidnight",
        48,
        "teacher_checkpoint_load.pt",
        lambda: fill(dinov2_shapes("dinov2")),
        IMAGENET,
    ),
    "keep": ("keep", 32, "model.safetensors", lambda: fill(keep_shapes("weight")), IMAGENET),
    "keep of its authors' code": ("keep", 32, "", lambda: fill(keep_shapes("gamma")), IMAGENET),
    "conch-v1.5": ("conch-v1.5", 32, "pytorch_model_vision.bin", lambda: fill(conch_shapes(28)), IMAGENET),
    "conch-v1.5 of TITAN": ("conch-v1.5", 32, "", lambda: fill(conch_shapes(14)), IMAGENET),
    "musk": ("musk", 48, "model.safetensors", lambda: fill(musk_shapes()), HALF),
    "genbio-pathfm": ("genbio-pathfm", 144, "model.pth", genbio_state, GENBIO),
}
PASSES = {
    "hibou-b": lambda w, x: dinov2_by_hand(w, x, "transformers"),
    "hibou-l": lambda w, x: dinov2_by_hand(w, x, "transformers"),
    "hibou-b of its authors' code": lambda w, x: dinov2_by_hand(w, x, "dinov2"),
    "openmidnight": lambda w, x: dinov2_by_hand(w, x, "dinov2"),
    "keep": lambda w, x: keep_by_hand(w, x, "weight"),
    "keep of its authors' code": lambda w, x: keep_by_hand(w, x, "gamma"),
    "conch-v1.5": conch_by_hand,
    "conch-v1.5 of TITAN": conch_by_hand,
    "musk": musk_by_hand,
    "genbio-pathfm": genbio_by_hand,
}


@pytest.fixture
def narrow(monkeypatch):
    """Rows whose networks have their own structure, and two narrow blocks."""
    tiny = {"depth": DEPTH, "embed_dim": WIDTH, "num_heads": HEADS}
    for name, dimension, *_ in FORMS.values():
        spec = ENCODERS[name]
        layer = replace(spec.fine, channels=3 * WIDTH if name == "genbio-pathfm" else WIDTH)
        arguments = {**spec.arguments, **tiny}
        monkeypatch.setitem(
            ENCODERS, name, replace(spec, dimension=dimension, arguments=arguments, fine=layer)
        )


def save(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def make_images(patches, edge):
    """Two patches of so many pixels, which nothing resizes."""
    return np.ascontiguousarray(np.tile(patches[:2], (1, 2, 2, 1))[:, :edge, :edge])


def normalised(images, mean, std):
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def test_every_file_that_needs_more_than_other_names_is_made_up_here():
    rows = {name for name, spec in ENCODERS.items() if spec.values is not None or spec.library == "own"}
    assert rows == {name for name, *_ in FORMS.values()}
    assert FORMS.keys() == PASSES.keys()


@pytest.mark.parametrize("form", FORMS)
def test_published_files_embed_as_their_authors_do_by_hand(form, narrow, patches, tmp_path):
    name, dimension, _, make, numbers = FORMS[form]
    state, spec = make(), ENCODERS[name]
    images = make_images(patches, spec.input_size)
    with torch.inference_mode():
        expected, tokens = PASSES[form](state, normalised(images, *numbers))
    encoder = load_encoder(name, weights=save(state, tmp_path / "weights.pth"))
    found = encoder.encode(images)
    assert found.shape == (2, dimension)
    assert expected.abs().max() > 0.2
    assert np.abs(found - expected.numpy()).max() < 2e-4
    assert cosine_with(found[0], expected[0].numpy()) > 0.99999
    assert cosine_with(encoder.encode(images[..., ::-1]), found) < 0.999
    # Cells are read from the same pass, of the tokens that are places.
    plan = encoder.plan_cells(spec.input_size, spec.input_size // 2)
    features = encoder.fetch(encoder.start(images, cells=plan))
    cells = make_reader(spec, plan, "cpu")(tokens).numpy().astype(np.float32)
    assert np.abs(features.fine.astype(np.float32) - cells).max() < 0.03
    assert np.abs(cells).max() > 0.5


@pytest.mark.parametrize("form", [form for form, (_, _, file, *_) in FORMS.items() if file])
def test_the_hub_is_asked_for_the_published_file(form, narrow, patches, tmp_path, monkeypatch):
    name, _, file, make, _ = FORMS[form]
    path, asked = save(make(), tmp_path / file), []

    def download(repository, wanted, **_):
        asked.append((repository, wanted))
        return str(path)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    encoder = load_encoder(name)
    assert asked == [(ENCODERS[name].hub, file)]
    images = make_images(patches, 256)
    assert np.array_equal(encoder.encode(images), load_encoder(name, weights=path).encode(images))


@pytest.mark.parametrize("form", ["hibou-b", "keep", "conch-v1.5", "musk", "genbio-pathfm"])
def test_published_networks_in_bfloat16_stay_close_to_float32(form, narrow, patches, tmp_path):
    name, _, _, make, _ = FORMS[form]
    path = save(make(), tmp_path / "weights.pth")
    images = make_images(patches, ENCODERS[name].input_size)
    full, half = (
        load_encoder(name, weights=path, precision=precision).encode(images)
        for precision in ("float32", "bfloat16")
    )
    assert not np.array_equal(full, half)
    assert cosine_with(full, half) > 0.999


@pytest.mark.parametrize(
    ("form", "changed", "told"),
    [
        ("hibou-b", {"embeddings.register_tokens": None}, "1 key missing: reg_token"),
        (
            "hibou-b",
            {"embeddings.position_embeddings": (1, 12, WIDTH)},
            "not those of a square",
        ),
        ("openmidnight", {"blocks.1.mlp.w3.bias": None}, r"1 key missing: blocks\.1\.mlp\.fc2\.bias"),
        ("keep", {"visual_head.2.bias": None}, r"1 key missing: visual_head\.2\.bias"),
        ("keep", {"visual.reg_token": (1, 1, WIDTH)}, r"1 key unknown: visual\.reg_token"),
        (
            "conch-v1.5",
            {"trunk.pos_embed": (1, 12, WIDTH)},
            r"another shape: trunk\.pos_embed \(1, 12",
        ),
        ("conch-v1.5", {"trunk.pos_embed": None}, r"1 key missing: trunk\.pos_embed"),
        (
            "musk",
            {"beit3.encoder.layers.0.ffn.A.fc1.bias": None},
            r"1 key missing: blocks\.0\.mlp\.fc1\.bias",
        ),
        (
            "musk",
            {"beit3.encoder.embed_positions.A.weight": (99, WIDTH)},
            r"shape: pos_embed \(1, 97",
        ),
        ("genbio-pathfm", {"rope_embed.periods": None}, r"1 key missing: rope_embed\.periods"),
        ("genbio-pathfm", {"patch_embed.proj.weight": (WIDTH, 3, 16, 16)}, r"of another shape: patch_embed"),
    ],
)
def test_published_files_that_are_not_whole_are_refused_with_their_keys(
    form, changed, told, narrow, tmp_path
):
    name, _, _, make, _ = FORMS[form]
    state = make() | {key: torch.zeros(shape) for key, shape in changed.items() if shape is not None}
    state = {key: value for key, value in state.items() if key not in changed or changed[key] is not None}
    with pytest.raises(EncoderError, match=told):
        load_encoder(name, weights=save(state, tmp_path / "weights.pth"))


@pytest.mark.parametrize("form", FORMS)
def test_a_published_file_without_its_name_is_known_for_a_transformers(form, tmp_path):
    path = save(FORMS[form][3](), tmp_path / "weights.pth")
    with pytest.raises(EncoderError, match=r"is a vision transformer's, .* --encoder NAME --weights"):
        load_encoder(str(path))


def test_patches_are_normalised_by_hand_as_cards_do(patches):
    """What the passes are given is what the cards' transforms make of a patch of the right size."""
    from PIL import Image

    images = make_images(patches, 448)
    expected = card_transform(448, 448, "bilinear", *IMAGENET)(Image.fromarray(images[0]))
    assert (normalised(images, *IMAGENET)[0] - expected).abs().max() < 1e-5
