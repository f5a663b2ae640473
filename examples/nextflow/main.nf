// A folder of slides to a folder's answer: embed, label from seeds, export, one table and one page of pictures.
//
//     nextflow run examples/nextflow --slides 'scans/*.svs' --seeds seeds --outdir results -resume
//
// Seeds are SLIDE.csv for each slide, with the columns patch,class or x,y,class (level-0 pixels). The modules are in
// nf-core's shape, to be copied into a pipeline of one's own.

include { TISSUUMAPS_SIC_EMBED  } from './modules/embed/main'
include { TISSUUMAPS_SIC_RUN    } from './modules/run/main'
include { TISSUUMAPS_SIC_EXPORT } from './modules/export/main'
include { TISSUUMAPS_SIC_TABLE  } from './modules/table/main'

workflow {
    slides = Channel.fromPath(params.slides, checkIfExists: true).map { slide -> [[id: slide.baseName], slide] }
    seeds = Channel.fromPath("${params.seeds}/*.csv", checkIfExists: true).map { csv -> [[id: csv.baseName], csv] }

    TISSUUMAPS_SIC_EMBED(slides)
    h5ads = TISSUUMAPS_SIC_EMBED.out.h5ad
    TISSUUMAPS_SIC_RUN(h5ads.join(seeds))
    labelled = h5ads.join(TISSUUMAPS_SIC_RUN.out.session)
    TISSUUMAPS_SIC_EXPORT(labelled, params.format)
    TISSUUMAPS_SIC_TABLE(
        labelled.map { meta, h5ad, session -> h5ad }.collect(),
        labelled.map { meta, h5ad, session -> session }.collect(),
    )
}
