// A slide to embeddings: SLIDE.h5ad and the project that the viewer opens.
process TISSUUMAPS_SIC_EMBED {
    tag "$meta.id"
    label 'process_gpu'
    container params.embed_container

    input:
    tuple val(meta), path(slide)

    output:
    tuple val(meta), path("*.h5ad"), emit: h5ad
    tuple val(meta), path("*.tmap"), emit: project
    path "versions.yml"            , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    embedder embed ${slide} -o . ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        tissuumaps-sic: \$(tissuumaps-sic --version | sed 's/.* //')
    END_VERSIONS
    """
}
