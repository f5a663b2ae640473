import json
import re
import subprocess
import sys

import torch
import torchvision
from making.embeddings import write_ramp
from making.tissue import write_tissue

from embedder.cli import main
from embedder.isolation import child
from tissuumaps_sic.slidefile.extras import tell_install


def embedder(*arguments):
    command = [sys.executable, "-m", "embedder", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_one_command_embeds_a_real_slide_and_reports(shared_data, tmp_path):
    slides = [shared_data / "slides" / "CMU-1-Small-Region.svs", shared_data / "slides" / "broken.svs"]
    ran = embedder("embed", *slides, "-o", tmp_path, "--no-umap", "--overlap", "0", "--json")
    assert ran.returncode == 1
    report = json.loads(ran.stdout)
    assert [each["status"] for each in report] == ["done", "failed"]
    # 2220 x 2967 px hold 8 x 11 patches of 256.5 px, less what is glass.
    assert 40 < report[0]["n_patches"] <= 88
    assert "patches/s" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert main(["check", str(tmp_path / "CMU-1-Small-Region.h5ad")]) == 0


def test_an_unknown_encoder_is_one_line_with_those_that_are_known(tmp_path, caplog):
    assert main(["embed", "a.svs", "-o", str(tmp_path), "--encoder", "resnet19"]) == 2
    assert "resnet18" in caplog.text
    assert len(caplog.records) == 1


def test_check_takes_folders(small_h5ad, capsys):
    assert main(["check", str(small_h5ad)]) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"{small_h5ad}: ")
    assert main(["check", str(small_h5ad.parent)]) == 1
    assert capsys.readouterr().out == told


def test_check_names_the_broken_rules(tmp_path, capsys):
    (tmp_path / "a.h5ad").write_text("nothing")
    assert main(["check", str(tmp_path / "a.h5ad")]) == 1
    assert "cannot be read as HDF5" in capsys.readouterr().out


def test_encoders_are_listed_with_what_they_need(capsys):
    assert main(["encoders"]) == 0
    told = capsys.readouterr().out
    assert "efficientnet-lite0" in told
    assert "1280" in told
    assert "ready" in told
    assert main(["encoders", "--json"]) == 0
    report = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert report["efficientnet-lite0"]["usable"]
    assert report["uni"]["dimension"] == 1024


def test_help_imports_nothing_heavy():
    """Every command's, since one parser has them all."""
    code = (
        "import sys\nfrom embedder.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'anndata', 'pandas', 'umap', 'timm', 'numpy', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_without_torch_it_says_what_to_install(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(child, "PREPARATION", "making.isolation:hide_torch")
    assert main(["embed", "a.svs", "-o", str(tmp_path)]) == 1
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"torch is not installed; run {tell_install('embed')}"]


def test_the_program_says_in_one_line_that_a_slide_is_missing(tmp_path):
    ran = embedder("embed", tmp_path / "missing.svs", "-o", tmp_path / "out")
    assert ran.returncode == 1
    # Where the encoder runs is said before any slide is looked at.
    place, told = ran.stderr.splitlines()
    assert re.fullmatch(
        r"encoder efficientnet-lite0 on (the processor \(\d+ threads?\)|\S+ \(.+\)), .*", place
    )
    assert "missing.svs" in told


def test_two_workers_of_this_machine_embed_a_folder(tmp_path):
    (tmp_path / "slides").mkdir()
    for name in "abc":
        write_ramp(tmp_path / "slides" / f"{name}.tif", width=300, height=280)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "random.pth")
    ran = embedder(
        *("embed", tmp_path / "slides", "-o", tmp_path / "out", "--workers", "2", "--json"),
        *("--encoder", tmp_path / "random.pth", "--patch-size", "64", "--min-tissue", "0", "--no-umap"),
    )
    assert ran.returncode == 0, ran.stderr
    assert [each["status"] for each in json.loads(ran.stdout)] == ["done"] * 3
    assert "3 done, 0 skipped, 0 failed" in ran.stderr
    assert main(["check", *(str(tmp_path / "out" / f"{name}.h5ad") for name in "abc")]) == 0


def test_terminating_a_run_saves_what_was_done(tmp_path):
    slide = write_ramp(tmp_path / "ramp.tif", width=4000, height=3000)
    command = [sys.executable, "-m", "embedder", "embed", slide, "-o", tmp_path / "out"]
    command += ["--patch-size", "64", "--min-tissue", "0", "--no-umap", "--precision", "float32"]
    run = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    told = ""
    while "64/" not in told:  # the bar says so when two batches are done
        told += run.stderr.read(1)
    run.terminate()
    rest = run.communicate()[1]
    assert run.returncode == 130
    assert "goes on where it was" in rest
    assert "Traceback" not in rest
    state = json.loads((tmp_path / "out" / ".ramp.partial" / "state.json").read_text())
    assert state["done"] >= 64
    assert not (tmp_path / "out" / ".ramp.lock").exists()


def test_an_encoder_is_trained_by_one_command_and_embeds_by_the_one_that_is_printed(tmp_path, capsys, caplog):
    slide = write_tissue(tmp_path / "a.tif", side=256)
    command = ["pretrain", tmp_path, "-o", tmp_path / "mine", "--encoder", "resnet18", "--start", "random"]
    command += [
        "--patches",
        "8",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--patch-size",
        "64",
        "--device",
        "cpu",
    ]
    ran = embedder(*command)
    assert ran.returncode == 0, ran.stderr
    assert "2 steps on 8 patches of 1 slide\n" in ran.stderr
    assert "Traceback" not in ran.stderr
    told = ran.stdout.split()
    assert told[:5] == ["embedder", "embed", "SLIDE", "-o", "DIR"]
    again = embedder("embed", slide, "-o", tmp_path / "out", "--no-umap", *told[5:])
    assert again.returncode == 0, again.stderr
    assert main(["check", str(tmp_path / "out" / "a.h5ad")]) == 0
    command = list(map(str, command))
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["steps"], report["n_patches"], len(report["loss"])) == (2, 8, 2)
    assert main([*command, "--learning-rate", "0.01"]) == 1
    assert "holds another training (different: learning_rate)" in caplog.text


def test_a_table_ends_the_sharing_of_several_files(tmp_path):
    """It is logged by the ground floor, whose notes were not shown by this program."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.h5ad").write_text("nothing")
    ran = embedder("share", tmp_path, "-o", tmp_path / "out")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == "2 failed"
