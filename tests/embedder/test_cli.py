import json
import subprocess
import sys

from embedder.cli import main


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


def test_wrong_use_exits_with_two_and_unknown_encoders_with_one(tmp_path):
    assert embedder("embed", "a.svs").returncode == 2
    ran = embedder("embed", "a.svs", "-o", tmp_path, "--encoder", "resnet19")
    assert ran.returncode == 1
    assert "choose one of efficientnet-lite0" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_check_names_the_broken_rules(tmp_path, capsys):
    (tmp_path / "a.h5ad").write_text("nothing")
    assert main(["check", str(tmp_path / "a.h5ad")]) == 1
    assert "cannot be read as HDF5" in capsys.readouterr().out


def test_encoders_are_listed_with_what_they_need(capsys):
    assert main(["encoders"]) == 0
    told = capsys.readouterr().out
    assert "efficientnet-lite0" in told
    assert "1280-d" in told


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom embedder.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'anndata', 'pandas', 'umap', 'timm', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_without_torch_it_says_what_to_install(tmp_path):
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom embedder.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "embed", "a.svs", "-o", str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr == 'torch is not installed; run pip install "tissuumaps-sic[embed]"\n'


def test_a_missing_slide_is_one_line_and_exit_one(tmp_path):
    ran = embedder("embed", tmp_path / "missing.svs", "-o", tmp_path / "out")
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert "missing.svs" in ran.stderr
