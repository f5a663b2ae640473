// Seeds to labels: the session that the viewer opens beside the h5ad, with the labels in it.
process TISSUUMAPS_SIC_RUN {
    tag "$meta.id"
    label 'process_single'
    container params.container

    input:
    tuple val(meta), path(h5ad), path(seeds)

    output:
    tuple val(meta), path("*.sic.json"), emit: session
    path "versions.yml"                , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    tissuumaps-sic run ${h5ad} --seeds ${seeds} --save ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        tissuumaps-sic: \$(tissuumaps-sic --version | sed 's/.* //')
    END_VERSIONS
    """
}
